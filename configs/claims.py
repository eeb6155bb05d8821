"""The paper's claims that `experiments.reproduce` tests, each a set of comparisons.

Source: Chaudhary 2025 (arXiv 2510.21908).
"""

import math
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
      matters: the smallest difference in the claimed direction that would matter; of logarithms if
        those are compared. An experiment that cannot see it decides nothing.
      score_if_diverged: the metric of a network that diverged or whose run failed. None: of a
        network that diverged, the metric of its last finite parameters; failed runs are left out.
    """

    study: str
    claimed: Side
    other: Side
    lower: bool = False
    margin: float = 0.0
    log: bool = False
    matters: float = 0.0
    score_if_diverged: float | None = None


class Claim(NamedTuple):
    """A claim.

    name: under which other presets test the same claim. text: one sentence. source: "paper" or
    "ours". comparisons: they must all hold.
    """

    name: str
    text: str
    source: str
    comparisons: Sequence[Comparison]


# What matters: a tenth of the loss; of scores between 0 and 1, a twentieth, and of accuracies on
# images, where the rules differ less, a hundredth.
TENTH, TWENTIETH = math.log(1.1), 0.05


def best(
    study: str, metric: str, rule: Mapping, others: Sequence[Mapping], where: Mapping
) -> list[Comparison]:
    """The rule has the lowest value of a metric; ratios, since losses are near their optimum."""
    return [
        Comparison(
            study,
            Side(rule | where, metric),
            Side(other | where, metric),
            lower=True,
            log=True,
            matters=TENTH,
        )
        for other in others
    ]


def hebbian_lowest(learned: Mapping[str, Any]) -> list[Claim]:
    """The first claim, by task. learned: how a study's points with learned writes are told."""
    studies = [
        ("copying, full attention", "copying_attention", learned),
        ("copying, attention too short", "copying", learned),
        ("regression, full attention", "regression", FULL),
        ("regression, attention closed", "regression", CLOSED),
    ]
    for task, name in (("cifar_fs", "CIFAR-FS"), ("omniglot", "Omniglot")):
        one_shot = {"task.shots": 1}
        studies.append((f"{name}, 1 shot, full attention", task, FULL | one_shot))
        studies.append((f"{name}, 1 shot, attention closed", task, CLOSED | one_shot))
    return [
        Claim(
            f"hebbian lowest/{title}",
            f"Hebbian plasticity has the lowest loss: {title}",
            "paper",
            best(study, "loss", HEBBIAN, [NONE, GRADIENT], where),
        )
        for title, study, where in studies
    ]


def _memory() -> list[Claim]:
    return [
        Claim(
            "gradient best/copying over 100 steps",
            "The gradient rule is best for long-horizon credit assignment: copying over 100 steps",
            "paper",
            best("delay", "loss", GRADIENT, [NONE, HEBBIAN], {"task.delay": 100}),
        ),
        Claim(
            "static suffices/cue-reward",
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


def modulation(learned: Mapping[str, Any]) -> list[Claim]:
    """About eta, as published, and about sigmoid(g), which the clip does not change."""

    def more(a: Mapping, b: Mapping, metric: str, matters: float) -> Comparison:
        sides = Side(a | learned, metric), Side(b | learned, metric)
        return Comparison("copying", *sides, matters=matters)

    return [
        Claim(
            "larger rate/eta",
            "The learned rate is larger under the gradient rule: copying, eta",
            "paper",
            [more(GRADIENT, HEBBIAN, "eta", 0.01)],  # a twentieth of the largest, .2
        ),
        Claim(
            "larger rate/gate",
            "The learned rate is larger under the gradient rule: copying, sigmoid(g) alone",
            "paper",
            [more(GRADIENT, HEBBIAN, "gate", TWENTIETH)],
        ),
        Claim(
            "gated by events/eta",
            "Events gate rates more under the Hebbian than under the gradient rule: copying, eta",
            "paper",
            [more(HEBBIAN, GRADIENT, "gating_index", TWENTIETH)],
        ),
        Claim(
            "gated by events/gate",
            "Events gate rates more under the Hebbian than under the gradient rule: copying, "
            "sigmoid(g) alone",
            "paper",
            [more(HEBBIAN, GRADIENT, "gating_index_gate", TWENTIETH)],
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
        return Comparison(
            "depth",
            *sides,
            lower=True,
            margin=visible,
            matters=-2 * visible,
            score_if_diverged=chance,
        )

    return [
        Claim(
            "unstable at depth/cue-reward",
            "The gradient rule is unstable in deep networks: cue-reward, 8 layers worse than 2 "
            "by .002, and worse than 8 under the Hebbian rule by .002",
            "paper",
            [
                better((GRADIENT, 2, 1.0), (GRADIENT, 8, 1.0)),
                better((HEBBIAN, 8, 1.0), (GRADIENT, 8, 1.0)),
            ],
        ),
        Claim(
            "clip stabilises/cue-reward",
            "The clip of the write stabilises the gradient rule in deep networks: cue-reward, 8 "
            "layers, better by .002",
            "paper",
            [better((GRADIENT, 8, 1.0), (GRADIENT, 8, 0.0))],
        ),
    ]


def paper_claims() -> list[Claim]:
    """The claims of the paper that the preset `full` tests."""
    return [*hebbian_lowest(LEARNED), *_memory(), *modulation(LEARNED), *_depth()]
