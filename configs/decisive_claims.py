"""The claims of the preset `decisive`: those that `full` left open, and what follows from them.

A claim that `full` tests too has the same name, so that the verdicts stand side by side.
"""

import math
from collections.abc import Mapping
from typing import Any

from plasticity.configs.claims import (
    GRADIENT,
    HEBBIAN,
    NONE,
    TWENTIETH,
    Claim,
    Comparison,
    Side,
    hebbian_lowest,
    modulation,
)
from plasticity.configs.decisive import DEPTH_TRAINING

RECALL = "recall_accuracy"
COUPLED, SEPARATE = {"rule.decay_ratio": 1.0}, {"rule.decay_ratio": 0.05}


def decisive_claims() -> list[Claim]:
    """All of them."""
    return [
        *_lowest(),
        *_horizons(),
        *modulation({}),
        *_depth(),
        *_plateaus(),
    ]


def _lowest() -> list[Claim]:
    """The paper's first claim. Losses that are solved are compared by difference.

    The ratio of a loss of .001 to one of .0005 says nothing: a fiftieth of the loss of a network
    that knows nothing is what matters, 2.08 in copying and 4 in regression.
    """
    claims = hebbian_lowest({})
    for i, claim in enumerate(claims):
        for task, chance in (("copying", math.log(8)), ("regression", 4.0)):
            if claim.comparisons[0].study.startswith(task):
                differences = [
                    c._replace(log=False, matters=chance / 50) for c in claim.comparisons
                ]
                claims[i] = claim._replace(comparisons=differences)
    return claims


def _horizons() -> list[Claim]:
    """By recall, since a loss that is nearly 0 under both rules decides nothing."""
    text = "The gradient rule is best for long-horizon credit assignment: copying over"
    claims = [
        Claim(
            f"gradient best/copying over {delay} steps",
            f"{text} {delay} steps",
            "paper",
            [
                Comparison(
                    "horizon",
                    Side(GRADIENT | {"task.delay": delay}, RECALL),
                    Side(other | {"task.delay": delay}, RECALL),
                    matters=TWENTIETH,
                )
                for other in (NONE, HEBBIAN)
            ],
        )
        for delay in (20, 50, 100, 200)
    ]
    published = Comparison(
        "horizon_coupled", Side(GRADIENT, RECALL), Side(HEBBIAN, RECALL), matters=TWENTIETH
    )
    claims.append(
        Claim(
            "gradient best/copying over 100 steps, as published",
            f"{text} 100 steps, with keep = 1 - eta as published, four times the episodes",
            "paper",
            [published],
        )
    )
    separate = [
        Comparison(
            "horizon_factors",
            Side(GRADIENT | SEPARATE | PLAIN, RECALL),
            Side(GRADIENT | COUPLED | PLAIN, RECALL),
            matters=TWENTIETH,
        )
    ]
    claims.append(
        Claim(
            "separate decay/copying over 50 steps",
            "A decay slower than the rate lets the gradient rule learn long delays: copying over "
            "50 steps",
            "ours",
            separate,
        )
    )
    return claims


# The points of `horizon_factors` in which no other factor is changed.
PLAIN = {
    "curriculum.field": "",
    "train.eta0_warmup": 0,
    "train.schedule": "constant",
    "rule.alpha_init": "uniform",
}


def _plateaus() -> list[Claim]:
    """Accuracy with attention closed, on the images where seeds stay on a plateau."""
    plain = {"rule.max_norm": 1.0, "rule.eta0": 1.0, "rule.internal_scale": 1.0}
    plain |= {"train.eta0_warmup": 0, "train.clip": 5.0, "train.learning_rate": 1e-3}
    claims = []
    for shots in (1, 5):
        separate, coupled = (
            Side(GRADIENT | decay | plain | {"task.shots": shots}, "accuracy")
            for decay in (SEPARATE, COUPLED)
        )
        better = Comparison(
            "plateau_cifar_fs", separate, coupled, margin=-TWENTIETH, matters=2 * TWENTIETH
        )
        claims.append(
            Claim(
                f"separate decay/CIFAR-FS, {shots} shots",
                "A decay slower than the rate takes the gradient rule off its plateau: CIFAR-FS, "
                f"{shots} shot{'s' * (shots > 1)}, attention closed, better by .05",
                "ours",
                [better],
            )
        )
    return claims


# {task: metric, less is better, the score of a network that diverged (chance), what matters}
DEPTH = {"copying": (RECALL, False, 1 / 8, TWENTIETH), "regression": ("query_mse", True, 4.0, 0.2)}


def _better(task: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Comparison:
    metric, lower, chance, matters = DEPTH[task]
    return Comparison(
        f"depth_{task}",
        Side(a, metric),
        Side(b, metric),
        lower=lower,
        matters=matters,
        score_if_diverged=chance,
    )


def _depth() -> list[Claim]:
    """At 16 layers, where the paper expects trouble, with each of the learning rates."""
    shallow, deep = {"model.layers": 2}, {"model.layers": 16}
    clip, free = {"rule.max_norm": 1.0}, {"rule.max_norm": 0.0}
    claims = []
    for task, training in DEPTH_TRAINING.items():
        rates = [{"train.learning_rate": t["train.learning_rate"]} for t in training]
        claims += [
            Claim(
                f"unstable at depth/{task}",
                f"The gradient rule is unstable in deep networks: {task}, 16 layers worse than 2, "
                "and than 16 under the Hebbian rule",
                "paper",
                [
                    _better(task, better | clip | rate, GRADIENT | deep | clip | rate)
                    for rate in rates
                    for better in (GRADIENT | shallow, HEBBIAN | deep)
                ],
            ),
            Claim(
                f"clip stabilises/{task}",
                f"The clip of the write stabilises the gradient rule in deep networks: {task}, 16 "
                "layers",
                "paper",
                [
                    _better(task, GRADIENT | deep | clip | rate, GRADIENT | deep | free | rate)
                    for rate in rates
                ],
            ),
        ]
    return claims
