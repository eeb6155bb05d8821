"""Claims about learning one task after the other, which the preset `streams` tests."""

from collections.abc import Mapping
from typing import Any

from plasticity.configs.claims import TWENTIETH, Claim, Comparison, Side
from plasticity.configs.stream_studies import (
    CLASSP,
    LEVELS,
    PLAIN,
    RATES,
    REFRESH,
    SEVERAL_SPEEDS,
    SGD,
    SHUFFLED,
)
from plasticity.configs.training import StreamSettings

HUNDREDTH = 0.01
TOLD = {"stream.boundaries": "told"}
STATIC, HEBBIAN = ({"rule.name": name} | TOLD for name in ("none", "hebbian"))
ADAM = {"optimizer.name": "adamw", "optimizer.refresh": 0.0}
ADAM |= {"stream.strength": StreamSettings.strength}
ALONG = [{"optimizer.refresh_along": way} for way in ("gradient", "random")]
BOTH = ("alphabets", "tens")
ALL = ("copying", *BOTH, "superclasses")
Where = Mapping[str, Any]
AVERAGE = "average_accuracy"


def stream_claims() -> list[Claim]:
    """All of them."""
    found = [*_classp(), *_refresh(), *_methods(), *_fast_weights(), *_homeostatic()]
    return [*found, *_consolidation(), *_spacing(), *_levels()]


def _more(
    study: str, a: Where, b: Where, metric: str = AVERAGE, matters: float = TWENTIETH
) -> Comparison:
    return Comparison(study, Side(a, metric), Side(b, metric), matters=matters)


def _less(study: str, a: Where, b: Where, metric: str) -> Comparison:
    return Comparison(study, Side(a, metric), Side(b, metric), lower=True, matters=TWENTIETH)


def _classp() -> list[Claim]:
    classp, sgd = STATIC | PLAIN | CLASSP, STATIC | PLAIN | SGD
    ewc = STATIC | SGD | {"stream.method": "ewc"}
    return [
        Claim(
            f"classp/{stream}",
            f"CLASSP has a higher accuracy after the stream than SGD, and than EWC, and changes "
            f"fewer weights: {stream}",
            "Ludwig 2024",
            [
                *(_more(stream, classp, other) for other in (sgd, ewc)),
                *(_less(stream, classp, other, "touched") for other in (sgd, ewc)),
            ],
        )
        for stream in BOTH
    ]


def _refresh() -> list[Claim]:
    plain = STATIC | PLAIN | ADAM
    along, random = (STATIC | PLAIN | REFRESH | way for way in ALONG)
    pairs = [
        ("refresh gains", "Refresh learning has a higher accuracy than plain", "Wang et al. 2024"),
        (
            "refresh has a direction",
            "Refresh learning gains more than a random refresh of equal norm",
            "ours",
        ),
    ]
    return [
        Claim(
            f"{name}/{stream}",
            f"{text}: {stream}",
            source,
            [_more(stream, along, other, matters=HUNDREDTH)],
        )
        for (name, text, source), other in zip(pairs, (plain, random), strict=True)
        for stream in BOTH
    ]


def _methods() -> list[Claim]:
    ours = STATIC | ADAM
    replay, ewc = ({"stream.method": name} | ours for name in ("replay", "ewc"))
    return [
        Claim(
            f"replay beats ewc/{stream}",
            f"Replay has a higher accuracy after the stream than EWC: {stream}",
            "ours",
            [_more(stream, replay, ewc)],
        )
        for stream in ALL
    ]


def _fast_weights() -> list[Claim]:
    static, hebbian = (PLAIN | ADAM | rule for rule in (STATIC, HEBBIAN))
    return [
        Claim(
            f"fast weights forget less/{stream}",
            f"A network with Hebbian fast weights forgets less than one without: {stream}",
            "ours",
            [_less(stream, hebbian, static, "forgetting")],
        )
        for stream in ALL
    ]


def _homeostatic() -> list[Claim]:
    """Of the probe `concept_shift`, see `configs/probes.py`."""
    often, never = {"swaps": 19}, {"swaps": 0}
    return [
        Claim(
            "homeostatic rate/shift",
            "The advantage of the homeostatic rate over a fixed one grows with the rate of shift",
            "the program lrh",
            [
                Comparison(
                    "concept_shift",
                    Side(often, "advantage"),
                    Side(never, "advantage"),
                    matters=HUNDREDTH,
                )
            ],
        )
    ]


def _consolidation() -> list[Claim]:
    """At the largest rate of the study."""
    flows, none, shuffled = (
        {"consolidation.rate": RATES[-1], "consolidation.what": "fast"},
        {"consolidation.rate": 0.0},
        SHUFFLED,
    )
    claims = []
    for stream in SEVERAL_SPEEDS:
        study = f"consolidation_{stream}"
        off = "recall_accuracy_off" if stream == "copying" else "accuracy_off"
        texts = [
            ("consolidation gains", "raises the accuracy after the stream", none, AVERAGE),
            ("slow weights keep", "raises it for the slow weights alone", none, off),
            (
                "consolidation has a content",
                "gains more than the same numbers elsewhere",
                shuffled,
                AVERAGE,
            ),
        ]
        claims += [
            Claim(
                f"{name}/{stream}",
                f"Consolidation of fast weights {text}: {stream}",
                "ours",
                [_more(study, flows, other, metric, matters=HUNDREDTH)],
            )
            for name, text, other, metric in texts
        ]
    return claims


def _spacing() -> list[Claim]:
    massed, spaced = ({"stream.spacing": name} for name in ("massed", "spaced"))
    return [
        Claim(
            f"{name}/{stream}, {rule['rule.name']}",
            f"{text}: {stream}, {rule['rule.name']}",
            "ours",
            [_more(f"spacing_{stream}", rule | spaced, rule | massed, metric)],
        )
        for name, text, metric in (
            (
                "spaced is retained",
                "Spaced repetitions are retained better than massed ones",
                "retention",
            ),
            (
                "spaced is retained as long",
                "Spaced repetitions are retained better than massed ones, seen as long ago",
                "retention_latest",
            ),
        )
        for stream in SEVERAL_SPEEDS
        for rule in (STATIC, HEBBIAN)
    ]


def _levels() -> list[Claim]:
    one, four = ({"optimizer.periods": LEVELS[count]} for count in ("1", "4"))
    return [
        Claim(
            f"{name}/{stream}",
            f"Blocks that learn at four speeds {text} than those that learn at one: {stream}",
            "Behrouz et al. 2025",
            [compare(f"levels_{stream}", four, one, metric)],
        )
        for name, text, metric, compare in (
            ("levels keep", "have a higher accuracy after the stream", AVERAGE, _more),
            ("levels forget less", "forget less", "forgetting", _less),
        )
        for stream in SEVERAL_SPEEDS
    ]
