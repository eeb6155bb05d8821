"""The figure of all claims of a campaign: effects with intervals, on one axis."""

import collections
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plasticity.experiments.reports.figures import WRAPPED, strips
from plasticity.experiments.reports.statistics import NOT_SUPPORTED, OPPOSITE, SUPPORTED, UNDECIDED
from plasticity.experiments.run.checked import is_number

STYLES = {  # verdict: (colour, marker)
    SUPPORTED: ("#009E73", "o"),
    OPPOSITE: ("#D55E00", "X"),
    NOT_SUPPORTED: ("#0072B2", "s"),
    UNDECIDED: ("#777777", "D"),
}
LARGEST = 100.0  # effects beyond are drawn there


def drawn_claims(claims: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The claims that have evidence, by verdict."""
    order = list(STYLES)
    found = [c for c in claims if c["verdict"] in order and any(map(_measured, c["evidence"]))]
    return sorted(found, key=lambda claim: order.index(claim["verdict"]))


def _measured(record: Mapping[str, Any]) -> bool:
    return all(is_number(record.get(name)) for name in ("mean", "low", "high"))


def _matters(record: Mapping[str, Any]) -> float:
    given = record.get("matters")  # older verdicts have none
    return given + record["margin"] if is_number(given) else 0.0


def matter(claims: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all comparisons say what would matter, which then is the unit of the axis."""
    return all(_matters(record) > 0 for claim in claims for record in claim["evidence"])


def effects(claim: Mapping[str, Any], in_what_matters: bool) -> list[tuple[float, float, float]]:
    """(mean, low, high) of each comparison, positive as claimed; the weakest, which decides, first.

    Args:
      in_what_matters: the unit is the smallest effect that would matter; else half the interval.
    """
    found = []
    for record in filter(_measured, claim["evidence"]):
        sign = -1 if record["direction"] == "less" else 1
        ends = [sign * record[name] + record["margin"] for name in ("low", "mean", "high")]
        low, mean, high = sorted(ends)
        unit = _matters(record) if in_what_matters else (high - low) / 2
        unit = unit or abs(mean) / LARGEST or 1.0  # an interval may have no width
        found.append((mean / unit, low / unit, high / unit))
    return sorted(found)


def forest(claims: Sequence[Mapping[str, Any]], columns: int) -> Figure:
    """The effect of each claim, in columns: of its weakest comparison, and paler of the others.

    Args:
      claims: of `drawn_claims`.
    """
    unit, length = matter(claims), math.ceil(len(claims) / columns)
    parts = [claims[start : start + length] for start in range(0, len(claims), length)]
    figure, panels = strips([list(map(_title, part)) for part in parts])
    for part, (axes, places) in zip(parts, panels, strict=True):
        for claim, place in zip(part, places, strict=True):
            for paler, effect in enumerate(effects(claim, unit)):
                colour, marker = STYLES[claim["verdict"]]
                mean, *ends = np.clip(effect, -LARGEST, LARGEST)
                drawn = {"color": colour, "alpha": 0.35 if paler else 1}
                axes.plot(ends, [place, place], linewidth=1.5, **drawn)
                axes.plot(mean, place, marker, markersize=4 if paler else 6, **drawn)
        _scale(axes, [end for claim in claims for effect in effects(claim, unit) for end in effect])
        axes.axvline(1, color="#999999", linestyle=":", linewidth=1 if unit else 0)
        per = "the smallest that matters" if unit else "half its 95 % interval"
        axes.set_xlabel(f"effect as claimed / {per}", fontsize=8)
    counts = collections.Counter(claim["verdict"] for claim in claims)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=f"{name} ({counts[name]})")
        for name, (colour, marker) in STYLES.items()
        if counts[name]
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2 * len(parts), frameon=False)
    return figure


def _title(claim: Mapping[str, Any]) -> str:
    """A claim in few words: its name, which older verdicts lack."""
    head, _, rest = (claim.get("name") or claim["claim"]).replace("/", ": ").partition(": ")
    return f"{textwrap.shorten(head, WRAPPED, placeholder=' ...')}: {rest}".removesuffix(": ")


def _scale(axes: Axes, ends: Sequence[float]) -> None:
    """Linear around 0, and logarithmic beyond 1; as wide as the effects."""
    low, high = 1.3 * np.clip([min(-1, *ends), max(1, *ends)], -LARGEST, LARGEST)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in (-100, -10, -1, 0, 1, 10, 100) if low <= tick <= high])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axvline(0, color="#333333", linewidth=1)
