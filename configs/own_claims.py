"""Our own claims, which the preset `full` tests beside the paper's."""

from plasticity.configs.claims import CLOSED, GRADIENT, HEBBIAN, LEARNED, Claim, Comparison, Side


def own_claims() -> list[Claim]:
    """All of them."""
    recall = "recall_accuracy"
    return [
        *(
            Claim(
                f"training gates/{of}",
                f"Training gates Hebbian writes by events, beyond an untrained net: copying, {of}",
                "ours",
                [
                    Comparison(
                        "copying",
                        Side(HEBBIAN | LEARNED, metric),
                        Side(HEBBIAN | LEARNED, f"{metric}_untrained"),
                    )
                ],
            )
            for of, metric in (
                ("sigmoid(g)", "gating_index_gate"),
                ("size of the write", "gating_index_size"),
            )
        ),
        *(
            Claim(
                f"plasticity needed/{study}/{rule['rule.name']}",
                f"Trained plastic networks need plasticity: {study}, {rule['rule.name']} rule",
                "ours",
                [
                    Comparison(
                        study,
                        Side(rule | where, metric),
                        Side(rule | where, f"{metric}_off"),
                        lower,
                    )
                ],
            )
            for study, where, metric, lower in (
                ("copying", LEARNED, recall, False),
                ("cue_reward", CLOSED, "query_mse", True),
                ("regression", CLOSED, "query_mse", True),
            )
            for rule in (HEBBIAN, GRADIENT)
        ),
        *(
            Claim(
                f"must be learned/{rule['rule.name']}",
                f"Plasticity must be learned: copying, {rule['rule.name']} rule, full against "
                "truncated meta-gradient",
                "ours",
                [
                    Comparison(
                        "copying",
                        Side(rule | LEARNED, recall),
                        Side(rule | {"rule.meta_gradient": "truncated"}, recall),
                    )
                ],
            )
            for rule in (HEBBIAN, GRADIENT)
        ),
    ]
