"""Claims, each as comparisons that must all hold: what `experiments.reproduce` gives verdicts on.

The first ones are those of the paper (Chaudhary 2025, arXiv 2510.21908), the last ones ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

FULL, CLOSED = {"model.attention_window": 0}, {"model.attention_window": -1}
LEARNED = {"rule.meta_gradient": "full"}
NONE, HEBBIAN, GRADIENT = ({"rule.name": rule} for rule in ("none", "hebbian", "gradient"))


class Side(NamedTuple):
    """Runs of a study, by their fields, and one of their metrics."""

    where: Mapping[str, Any]
    metric: str


class Comparison(NamedTuple):
    """`claimed` is better than `other`: larger, or, if `lower`, less; by more than -margin."""

    study: str
    claimed: Side
    other: Side
    lower: bool = False
    margin: float = 0.0


class Claim(NamedTuple):
    """A sentence, whose it is, and the comparisons that it stands or falls with."""

    text: str
    source: str
    comparisons: Sequence[Comparison]


def _best(study: str, metric: str, rule: Mapping, others: Sequence[Mapping], where: Mapping):
    """The rule has the least of a metric."""
    return [
        Comparison(study, Side(rule | where, metric), Side(other | where, metric), lower=True)
        for other in others
    ]


def _hebbian_lowest() -> list[Claim]:
    studies = [
        ("copying, full attention", "copying_attention", LEARNED),
        ("copying, attention 6 steps back", "copying", LEARNED),
        ("regression, full attention", "regression", FULL),
        ("regression, attention closed", "regression", CLOSED),
    ]
    for task, name in (("cifar_fs", "CIFAR-FS"), ("omniglot", "Omniglot")):
        one_shot = {"task.shots": 1}
        studies.append((f"{name}, 1 shot, full attention", task, FULL | one_shot))
        studies.append((f"{name}, 1 shot, attention closed", task, CLOSED | one_shot))
    return [
        Claim(
            f"Hebbian plasticity has the lowest loss: {title}",
            "paper",
            _best(study, "loss", HEBBIAN, [NONE, GRADIENT], where),
        )
        for title, study, where in studies
    ]


def _memory() -> list[Claim]:
    long = {"task.delay": 100}
    recall = "recall_accuracy"
    return [
        Claim(
            "The gradient rule is best for long-horizon credit assignment: copying over 100 steps",
            "paper",
            [
                Comparison("delay", Side(GRADIENT | long, recall), Side(other | long, recall))
                for other in (NONE, HEBBIAN)
            ],
        ),
        Claim(
            "Static weights suffice for short, linearly separable associations: cue-reward, full "
            "attention, at most .002 behind either rule",
            "paper",
            [
                Comparison(
                    "cue_reward",
                    Side(NONE | FULL, "query_mse"),
                    Side(rule | FULL, "query_mse"),
                    lower=True,
                    margin=0.002,
                )
                for rule in (HEBBIAN, GRADIENT)
            ],
        ),
        Claim(
            "The learned rate is larger under the gradient rule, and more gated by events under "
            "the Hebbian one: copying",
            "paper",
            [
                Comparison("copying", Side(a | LEARNED, metric), Side(b | LEARNED, metric))
                for a, b, metric in (
                    (GRADIENT, HEBBIAN, "eta_mean"),
                    (HEBBIAN, GRADIENT, "gating_index"),
                )
            ],
        ),
    ]


def _depth() -> list[Claim]:
    def side(layers: int, max_norm: float) -> Side:
        where = {"model.layers": layers, "rule.max_norm": max_norm}
        return Side(GRADIENT | where, "query_mse")

    return [
        Claim(
            "The gradient rule is unstable in deep nets: cue-reward, 8 layers worse than 2",
            "paper",
            [Comparison("depth", side(2, 1.0), side(8, 1.0), lower=True)],
        ),
        Claim(
            "The clip of the write stabilises the gradient rule in deep nets: cue-reward, 8 layers",
            "paper",
            [Comparison("depth", side(8, 1.0), side(8, 0.0), lower=True)],
        ),
    ]


def _ours() -> list[Claim]:
    recall = "recall_accuracy"
    return [
        Claim(
            "Learning gates Hebbian writes by events, beyond what an untrained net does: copying",
            "ours",
            [
                Comparison(
                    "copying",
                    Side(HEBBIAN | LEARNED, "gating_index"),
                    Side(HEBBIAN | LEARNED, "gating_index_untrained"),
                )
            ],
        ),
        *(
            Claim(
                f"Nets that learned to be plastic need it: {study}, {rule['rule.name']} rule",
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


CLAIMS: list[Claim] = [*_hebbian_lowest(), *_memory(), *_depth(), *_ours()]
