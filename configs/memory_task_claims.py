"""Claims about tasks that tell memories apart, tested by the preset `memories` on trained nets."""

import math
from collections.abc import Mapping
from typing import Any

from plasticity.configs.claims import CLOSED, FULL, TENTH, TWENTIETH, Claim, Comparison, Side
from plasticity.configs.memory_tasks import HEADS

OURS = "ours, on tasks"
KHAJEHABDOLLAHI = "Khajehabdollahi et al. 2023"
MIXER, LAYERS = {"model.mixer": "memory"}, {"model.mixer": "attention"}
ONE_BACK = {"model.attention_window": 1}
AT_30, AT_6 = {"task.largest": 30}, {"task.largest": 6}


def telling_claims() -> list[Claim]:
    """All of them."""
    return [
        *_rewriting(),
        *_time_scales(),
        *_working_memory(),
        *_languages(),
        *_clamped(),
        *_needle(),
    ]


def _more(
    study: str, metric: str, a: Mapping[str, Any], b: Mapping[str, Any], matters: float = TWENTIETH
) -> Comparison:
    """The metric is larger under the settings `a` than under `b`."""
    return Comparison(study, Side(a, metric), Side(b, metric), matters=matters)


def _rules(names: str) -> list[dict[str, Any]]:
    return [{"rule.name": name} for name in names.split(",")]


def _rewriting() -> list[Claim]:
    hebb, delta, gated = _rules("hebb,delta,gated_delta")
    whole = {"rule.memory": "mlp"} | {
        "site.keep": "exponential",
        "site.momentum": "learned",
        "site.convolution": 4,
    }
    costly = [whole | {"site.keep": "one"}, whole | {"rule.memory": "linear"}]
    cheap = [whole | {"site.convolution": 0}, whole | {"site.momentum": "zero"}]
    return [
        Claim(
            "rewriting/delta",
            "The delta rule, gated or not, beats a decaying Hebb rule where keys are written again",
            "Schlag et al. 2021",
            [_more("rewriting", "query_accuracy", rule, hebb) for rule in (delta, gated)],
        ),
        Claim(
            "titans/parts",
            "Without its decay, or with a linear memory, Titans loses more than without its "
            "momentum or its convolution",
            "Behrouz et al. 2024",
            [_more("titans_parts", "query_accuracy", a, b) for a in cheap for b in costly],
        ),
        Claim(
            "equal state/memory layer",
            "With as many fast weights, a memory layer holds more than feed-forward layers: delta",
            OURS,
            [_more("equal_state", "query_accuracy", delta | MIXER, delta | LAYERS | ONE_BACK)],
        ),
    ]


def _time_scales() -> list[Claim]:
    multi, single = ({"task.heads": HEADS[name]} for name in ("multi-head", "single-head"))
    with_one, without = {"curriculum.field": "largest"}, {"curriculum.field": ""}
    none, hebbian, gradient = _rules("none,hebbian,gradient")
    return [
        Claim(
            "curriculum/12-parity",
            "12-parity is learned with a curriculum, and not without: all N at once, and alone",
            KHAJEHABDOLLAHI,
            [
                _more("parity_12", "largest_accuracy", heads | with_one, heads | without)
                for heads in (multi, single)
            ],
        ),
        Claim(
            "curriculum/multi-head reaches more",
            "A multi-head curriculum reaches a larger N in the same steps than a single-head one",
            KHAJEHABDOLLAHI,
            [_more("curricula", "curriculum_reached", multi | AT_30, single | AT_30, 1.0)],
        ),
        Claim(
            "curriculum/short time constants",
            "Time constants are shorter after a multi-head than after a single-head curriculum",
            KHAJEHABDOLLAHI,
            [
                Comparison(
                    "curricula",
                    Side(multi | AT_30, "time_constant_mean"),
                    Side(single | AT_30, "time_constant_mean"),
                    lower=True,
                    log=True,
                    matters=TENTH,
                )
            ],
        ),
        Claim(
            "curriculum/single-head forgets",
            "After a single-head curriculum an earlier N is forgotten, not after a multi-head one: "
            "6-parity",
            KHAJEHABDOLLAHI,
            [_more("curricula", "horizon_6", multi | AT_6, single | AT_6)],
        ),
        Claim(
            "curriculum/fast weights",
            "An RNN with fast weights reaches a larger N in the same steps than one without",
            OURS,
            [
                _more("curricula_rules", "curriculum_reached", rule, none, 1.0)
                for rule in (hebbian, gradient)
            ],
        ),
        Claim(
            "curriculum/delta layer",
            "A memory layer under the delta rule with rates in (0, 2) reaches a larger N in the "
            "same steps than one under Hebb's rule with decay",
            OURS,
            [_more("curricula_memory", "curriculum_reached", *_rules("delta,hebb"), 1.0)],
        ),
    ]


def _working_memory() -> list[Claim]:
    decay, none = {"site.keep": "exponential"}, {"site.keep": "one"}
    long, short = {"task.items": 12}, {"task.items": 3}

    def recency(keep: Mapping[str, Any], newest: int, oldest: int, margin: float) -> Comparison:
        sides = (Side(keep | long, f"position_{at}") for at in (newest, oldest))
        return Comparison("serial_recall", *sides, margin=margin, matters=TWENTIETH)

    return [
        Claim(
            "working memory/set size",
            "Recall falls with the length of the list: 3 and 12 symbols",
            "Sikarwar and Zhang 2023",
            [
                _more("serial_recall", "accuracy", keep | short, keep | long)
                for keep in (decay, none)
            ],
        ),
        Claim(
            "working memory/recency",
            "A memory that decays recalls the last symbol of a list better than the first",
            "Sikarwar and Zhang 2023",
            [recency(decay, 12, 1, 0.0)],
        ),
        Claim(
            "working memory/no recency without decay",
            "A memory that sums recalls the first and the last symbol equally well, within .1",
            OURS,
            [recency(none, 12, 1, 0.1), recency(none, 1, 12, 0.1)],
        ),
    ]


def _languages() -> list[Claim]:
    """Beside parity and modular arithmetic, see `memory_claims`."""
    two, one = {"site.rate_limit": 2.0}, {"site.rate_limit": 1.0}
    return [
        Claim(
            "negative eigenvalues/aa_star",
            "The delta rule needs rates above 1 to track a state beyond the lengths that it was "
            "trained on: (aa)*",
            "Grazzi et al. 2024",
            [_more("aa_star", "string_accuracy", two, one)],
        )
    ]


def _needle() -> list[Claim]:
    hebb, gated = _rules("hebb,gated_delta")
    far = {"task.test_steps": 512, "task.depth": "early"}
    return [
        Claim(
            "needle/length",
            "The gated delta rule recalls more than Hebb's rule with decay: needles in the first "
            "third of a text that is eight times as long as in training",
            OURS,
            [_more("needle", "accuracy", gated | far, hebb | far)],
        )
    ]


def _clamped() -> list[Claim]:
    """A network that was trained with both needs what it cannot do without."""
    claims = []
    for task, metric, lower in (
        ("copying", "recall_accuracy", False),
        ("regression", "query_mse", True),
        ("cue_reward", "query_mse", True),
    ):
        for rule in ("hebbian", "gradient"):
            both = {"rule.name": rule}
            how = {"lower": lower, "log": lower}
            how |= {"matters": math.log(2) if lower else TWENTIETH}
            needs = {
                "attention": Side(both | CLOSED, metric),
                "fast weights": Side(both | FULL, f"{metric}_off"),
            }
            claims += [
                Claim(
                    f"clamped/{task}, {rule}, {what}",
                    f"A network trained with attention and {rule} fast weights needs its {what}: "
                    f"{task}",
                    OURS,
                    [Comparison(f"clamped_{task}", Side(both | FULL, metric), without, **how)],
                )
                for what, without in needs.items()
            ]
    return claims
