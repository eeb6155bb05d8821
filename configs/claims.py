"""The claims that `experiments.reproduce` tests: each is a set of comparisons that must all hold.

Claims of the source "paper" are those of Chaudhary 2025 (arXiv 2510.21908); "ours" are ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

FULL, CLOSED = {"model.attention_window": 0}, {"model.attention_window": -1}
LEARNED = {"rule.meta_gradient": "full"}
NONE, HEBBIAN, GRADIENT = ({"rule.name": rule} for rule in ("none", "hebbian", "gradient"))


class Side(NamedTuple):
    """One side of a comparison: the runs of a study with these fields, and one of their metrics."""

    where: Mapping[str, Any]
    metric: str


class Comparison(NamedTuple):
    """The claim that a metric of one side is larger than that of the other, over paired seeds.

    Attributes:
      study: whose runs are compared.
      claimed, other: claimed - other > -margin is claimed.
      lower: less is better: claimed - other < margin is claimed instead.
      log: logarithms are compared, that is, ratios.
      score_if_diverged: the metric of a network that diverged or whose run failed. None: of a
        network that diverged, the metric of its last finite parameters; failed runs are left out.
    """

    study: str
    claimed: Side
    other: Side
    lower: bool = False
    margin: float = 0.0
    log: bool = False
    score_if_diverged: float | None = None


class Claim(NamedTuple):
    """A sentence, its source ("paper" or "ours"), and the comparisons that must all hold."""

    text: str
    source: str
    comparisons: Sequence[Comparison]


def _best(study: str, metric: str, rule: Mapping, others: Sequence[Mapping], where: Mapping):
    """The rule has the lowest value of a metric; ratios, since losses are near their optimum."""
    return [
        Comparison(
            study, Side(rule | where, metric), Side(other | where, metric), lower=True, log=True
        )
        for other in others
    ]


def _hebbian_lowest() -> list[Claim]:
    studies = [
        ("copying, full attention", "copying_attention", LEARNED),
        ("copying, attention too short", "copying", LEARNED),
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
    return [
        Claim(
            "The gradient rule is best for long-horizon credit assignment: copying over 100 steps",
            "paper",
            _best("delay", "loss", GRADIENT, [NONE, HEBBIAN], {"task.delay": 100}),
        ),
        Claim(
            "Static weights suffice for short, linearly separable associations: cue-reward, full "
            "attention, at most .002 worse than either rule",
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
    ]


def _modulation() -> list[Claim]:
    """About eta, as published, and about sigmoid(g), which the clip does not change."""

    def more(a: Mapping, b: Mapping, metric: str) -> Comparison:
        return Comparison("copying", Side(a | LEARNED, metric), Side(b | LEARNED, metric))

    return [
        Claim(
            "The learned rate is larger under the gradient rule: copying, eta",
            "paper",
            [more(GRADIENT, HEBBIAN, "eta")],
        ),
        Claim(
            "The learned rate is larger under the gradient rule: copying, sigmoid(g) alone",
            "paper",
            [more(GRADIENT, HEBBIAN, "gate")],
        ),
        Claim(
            "Events gate rates more under the Hebbian than under the gradient rule: copying, eta",
            "paper",
            [more(HEBBIAN, GRADIENT, "gating_index")],
        ),
        Claim(
            "Events gate rates more under the Hebbian than under the gradient rule: copying, "
            "sigmoid(g) alone",
            "paper",
            [more(HEBBIAN, GRADIENT, "gating_index_gate")],
        ),
    ]


def _depth() -> list[Claim]:
    chance = 1 / 12  # chance level of the query MSE: the score of a network that diverged
    visible = -0.002  # the claimed side is better by at least this much

    def better(a: tuple[Mapping, int, float], b: tuple[Mapping, int, float]) -> Comparison:
        sides = [
            Side(rule | {"model.layers": layers, "rule.max_norm": clip}, "query_mse")
            for rule, layers, clip in (a, b)
        ]
        return Comparison("depth", *sides, lower=True, margin=visible, score_if_diverged=chance)

    return [
        Claim(
            "The gradient rule is unstable in deep networks: cue-reward, 8 layers worse than 2 "
            "by .002, and worse than 8 under the Hebbian rule by .002",
            "paper",
            [
                better((GRADIENT, 2, 1.0), (GRADIENT, 8, 1.0)),
                better((HEBBIAN, 8, 1.0), (GRADIENT, 8, 1.0)),
            ],
        ),
        Claim(
            "The clip of the write stabilises the gradient rule in deep networks: cue-reward, 8 "
            "layers, better by .002",
            "paper",
            [better((GRADIENT, 8, 1.0), (GRADIENT, 8, 0.0))],
        ),
    ]


def _ours() -> list[Claim]:
    recall = "recall_accuracy"
    return [
        *(
            Claim(
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


CLAIMS: list[Claim] = [*_hebbian_lowest(), *_memory(), *_modulation(), *_depth(), *_ours()]
