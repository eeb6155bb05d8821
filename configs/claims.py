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
    """`claimed` is better than `other`: larger, or, if `lower`, less; by more than -margin.

    log: logarithms are compared, that is, ratios. lost: the metric of a net that diverged and of
    a run that failed; without it, a net that diverged counts as it was last.
    """

    study: str
    claimed: Side
    other: Side
    lower: bool = False
    margin: float = 0.0
    log: bool = False
    lost: float | None = None


class Claim(NamedTuple):
    """A sentence, whose it is, and the comparisons that it stands or falls with."""

    text: str
    source: str
    comparisons: Sequence[Comparison]


def _best(study: str, metric: str, rule: Mapping, others: Sequence[Mapping], where: Mapping):
    """The rule has the least of a metric; of losses near their optimum ratios tell."""
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
    ]


def _modulation() -> list[Claim]:
    """As published, of eta; and of sigmoid(g), of which the clip of the write is no part."""

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
            "Rates are gated by events under the Hebbian rule, more than under the other: copying, "
            "eta",
            "paper",
            [more(HEBBIAN, GRADIENT, "gating_index")],
        ),
        Claim(
            "Rates are gated by events under the Hebbian rule, more than under the other: copying, "
            "sigmoid(g) alone",
            "paper",
            [more(HEBBIAN, GRADIENT, "gating_index_gate")],
        ),
    ]


def _depth() -> list[Claim]:
    ignorant = 1 / 12  # query MSE of who knows nothing: what a net that diverged has learned
    visible = -0.002  # the claimed side is better by at least as much

    def better(a: tuple[Mapping, int, float], b: tuple[Mapping, int, float]) -> Comparison:
        sides = [
            Side(rule | {"model.layers": layers, "rule.max_norm": clip}, "query_mse")
            for rule, layers, clip in (a, b)
        ]
        return Comparison("depth", *sides, lower=True, margin=visible, lost=ignorant)

    return [
        Claim(
            "The gradient rule is unstable in deep nets: cue-reward, 8 layers worse than 2 by "
            ".002, and than 8 under the Hebbian rule",
            "paper",
            [
                better((GRADIENT, 2, 1.0), (GRADIENT, 8, 1.0)),
                better((HEBBIAN, 8, 1.0), (GRADIENT, 8, 1.0)),
            ],
        ),
        Claim(
            "The clip of the write stabilises the gradient rule in deep nets: cue-reward, 8 "
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
                f"Learning gates Hebbian writes by events, beyond an untrained net: copying, {of}",
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


CLAIMS: list[Claim] = [
    *_hebbian_lowest(),
    *_memory(),
    *_modulation(),
    *_depth(),
    *_ours(),
]
