"""Claims about untrained memories, which the preset `memories` tests by `configs/probes.py`.

Sources: Qiao 2025 (arXiv 2508.08289); Ahmad and Hawkins 2015 (arXiv 1503.07469); Behrouz et al.
2025, Miras (arXiv 2504.13173); Rescorla and Wagner 1972. Sizes, formulas and comparisons are ours:
the first two speak of capacity in general, the second of single codes, not of sums.
"""

import math
from collections.abc import Mapping
from typing import Any

from plasticity.configs import probes
from plasticity.configs.claims import TENTH, TWENTIETH, Claim, Comparison, Side
from plasticity.configs.probes import DELTA, SUMS

# Not "ours": p-values of trained networks, which have few seeds, are not adjusted for these.
OURS = "ours, untrained"
EFFECTS = (
    "acquisition", "extinction", "blocking", "overshadowing", "conditioned_inhibition",
    "overexpectation",
)  # fmt: skip
Where = Mapping[str, Any]


def probe_claims() -> list[Claim]:
    """All of them."""
    return [*_width(), *_correction(), *_conditioning(), *_codes(), *_outliers(), *_recency()]


def _less(study: str, claimed: Where, other: Where, *metrics: str) -> Comparison:
    """An error is smaller, as a ratio: `mse`, or two metrics."""
    sides = map(Side, (claimed, other), metrics or ("mse", "mse"))
    return Comparison(study, *sides, lower=True, log=True, matters=TENTH)


def _recalls_more(study: str, *sides: Where) -> Comparison:
    claimed, other = (Side(where, "accuracy") for where in sides)
    return Comparison(study, claimed, other, matters=TWENTIETH)


def _equal(study: str, where: Where, one: str, other: str, ratio: float) -> list[Comparison]:
    """Neither metric is larger than the other times `ratio`."""
    sides = Side(where, one), Side(where, other)
    both = Comparison(study, *sides, log=True, margin=math.log(ratio))
    return [both, both._replace(lower=True)]


def _width() -> list[Claim]:
    study, widths = "probe_width", ({"dim": 32}, {"dim": 64})
    formula = [c for width in widths for c in _equal(study, width, "mse", "expected", 1.05)]
    return [
        Claim(
            "width",
            "Capacity grows with the width of keys: the error of sums is (items - 1) / width, "
            "within 5 %, and falls from width 32 to 64, 32 items",
            "Qiao 2025",
            [_less(study, *widths[::-1]), *formula],
        )
    ]


def _correction() -> list[Claim]:
    """Where the correction of errors costs recall, and where recall needs it."""
    loads = [{"items": items} for items in probes.OVERLOAD]
    study = "probe_rewriting"
    return [
        Claim(
            "overload",
            "Of items written once, sums recall more than the delta rule at a rate of 1: 32 "
            f"dimensions, {', '.join(map(str, probes.OVERLOAD))} items, random keys",
            OURS,
            [_recalls_more("probe_overload", SUMS | load, DELTA | load) for load in loads],
        ),
        Claim(
            "rewriting",
            "Of values that replace older ones, the delta rule recalls more than sums, with a "
            "smaller error: 32 dimensions, 16 keys that are written twice",
            OURS,
            [_recalls_more(study, DELTA, SUMS), _less(study, DELTA, SUMS)],
        ),
    ]


def _conditioning() -> list[Claim]:
    """An effect is shown if its measure exceeds the criterion: `experiments.conditioning`."""
    criterion, study = "criterion", "probe_conditioning"
    return [
        Claim(
            f"conditioning/{effect}",
            f"The delta rule shows {effect.replace('_', ' ')}, sums do not: rates from .2 to .6",
            "Rescorla and Wagner 1972",
            [
                Comparison(study, Side(rule, more), Side(rule, less), matters=TWENTIETH)
                for rule, more, less in ((DELTA, effect, criterion), (SUMS, criterion, effect))
            ],
        )
        for effect in EFFECTS
    ]


def _codes() -> list[Claim]:
    """Codes with few entries of many are hardly ever confused."""
    return [
        Claim(
            f"sparse keys/{dense}, winners {winners}",
            f"Sparse keys raise capacity: sums recall more than with {title} keys, with a smaller "
            f"error, {winners} of 64 and of 256 entries, four items per dimension",
            "after Ahmad and Hawkins 2015",
            [
                better("probe_codes", sparse | {"dim": dim}, {"keys": dense, "dim": dim})
                for dim in probes.CODE_SIZES
                for better in (_less, _recalls_more)
            ],
        )
        for dense, title in (("random", "dense"), ("positive", "dense positive"))
        for winners in probes.WINNERS
        if (sparse := {"keys": "sparse", "winners": winners})
    ]


def _outliers() -> list[Claim]:
    squared = (DELTA, probes.MOMENTUM)
    return [
        Claim(
            f"outliers/{form}",
            "Yaad is robust to outliers: one value of ten is ten times as long, the others have a "
            f"smaller error than under squared errors, {form} form",
            "Behrouz et al. 2025, Miras",
            [_less("probe_outliers", yaad, other) for other in squared],
        )
        for form, yaad in (("huber", probes.HUBER), ("printed", probes.PRINTED))
    ]


def _recency() -> list[Claim]:
    study, new, old = "probe_recency", "mse_newest", "mse_oldest"
    about = "32 dimensions, 48 items, the newest and the oldest third"

    titles = {
        "decay": (
            "Sums that keep .95 a step have a smaller",
            [_less(study, probes.DECAYED, probes.DECAYED, new, old)],
        ),
        "delta": ("The delta rule has a smaller", [_less(study, DELTA, DELTA, new, old)]),
        "sums": (
            "Sums that keep all have, within 10 %, the same",
            _equal(study, SUMS, new, old, 1.1),
        ),
    }
    return [
        Claim(f"recency/{name}", f"{title} error of what is new: {about}", OURS, comparisons)
        for name, (title, comparisons) in titles.items()
    ]
