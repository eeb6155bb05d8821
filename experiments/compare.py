"""Rows of results against what was published, and against claims."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from configs.claims import Claim, Comparison, Side
from configs.published import CORRECTED, ETA_MEAN, TABLES
from experiments.statistics import LEVEL, Contrast, holm, paired, verdict
from experiments.tables import Row

NO_EVIDENCE = "no evidence"  # runs are missing


def published_table(rows: Sequence[Row]) -> list[Row]:
    """A row per study, rule and metric: published mean and deviation, ours, and how far apart.

    Deviations are over seeds, with ddof 0, as published. `distance` is in published ones.
    """
    table = []
    for study, rules in TABLES.items():
        for rule, metrics in rules.items():
            own = [row for row in rows if row["study"] == study and row["rule.name"] == rule]
            if not own:
                continue
            cell = {"study": study, "rule": rule}
            table += [cell | _beside(own, name, *known) for name, known in metrics.items()]
            if study in ETA_MEAN:
                table.append(cell | _beside(own, "eta_mean", ETA_MEAN[study][rule], None))
            table += [cell | _beside(own, name, None, None) for name in CORRECTED.get(study, ())]
    return table


def _beside(own: Sequence[Row], metric: str, mean: float | None, deviation: float | None) -> Row:
    values = np.array([row[metric] for row in own], np.float64)
    distance = None
    if mean is not None and deviation is not None:
        distance = abs(float(values.mean()) - mean) / deviation
    return {
        "metric": metric,
        "published": mean,
        "published_std": deviation,
        "ours": float(values.mean()),
        "ours_std": float(values.std()),
        "n": len(values),
        "distance": distance,
    }


def within(table: Sequence[Row], deviations: float) -> tuple[int, int]:
    """(cells of the table within so many published deviations, cells that have one)."""
    distances = [row["distance"] for row in table if row["distance"] is not None]
    return sum(distance <= deviations for distance in distances), len(distances)


def judge_claims(rows: Sequence[Row], claims: Sequence[Claim]) -> list[Row]:
    """Each claim with its verdict and evidence; p-values are adjusted over all comparisons."""
    found = [[_contrast(rows, comparison) for comparison in c.comparisons] for c in claims]
    known = [contrast for own in found for contrast in own if contrast]
    adjusted = iter(holm([contrast.p for contrast in known]))
    verdicts = []
    for claim, contrasts in zip(claims, found, strict=True):
        p_values = [next(adjusted) if contrast else math.nan for contrast in contrasts]
        complete = all(contrasts)
        verdicts.append(
            {
                "claim": claim.text,
                "source": claim.source,
                "verdict": verdict(contrasts, p_values) if complete else NO_EVIDENCE,
                "evidence": [
                    _evidence(rows, comparison, contrast, p)
                    for comparison, contrast, p in zip(
                        claim.comparisons, contrasts, p_values, strict=True
                    )
                ],
            }
        )
    return verdicts


def _contrast(rows: Sequence[Row], comparison: Comparison) -> Contrast | None:
    """Positive where the comparison holds; None if fewer than two seeds have both sides."""
    claimed, other = (
        _by_seed(rows, comparison.study, side) for side in (comparison.claimed, comparison.other)
    )
    if len(claimed.keys() & other.keys()) < 2:
        return None
    sign = -1 if comparison.lower else 1
    return paired(
        {seed: sign * value + comparison.margin for seed, value in claimed.items()},
        {seed: sign * value for seed, value in other.items()},
    )


def _rows_of(rows: Sequence[Row], study: str, side: Side) -> list[Row]:
    return [
        row
        for row in rows
        if row["study"] == study
        and side.metric in row
        and all(row.get(field) == value for field, value in side.where.items())
    ]


def _by_seed(rows: Sequence[Row], study: str, side: Side) -> dict[int, float]:
    own = _rows_of(rows, study, side)
    values = {row["seed"]: row[side.metric] for row in own}
    if len(values) < len(own):
        raise ValueError(f"{dict(side.where)} is more than one point of the study {study!r}")
    return values


def _evidence(
    rows: Sequence[Row], comparison: Comparison, contrast: Contrast | None, adjusted: float
) -> dict[str, Any]:
    """A comparison and what was found; `diverged`: nets on either side that did, if any."""
    sides = (comparison.claimed, comparison.other)
    own = [row for side in sides for row in _rows_of(rows, comparison.study, side)]
    diverged = sum("diverged_after" in row for row in own)
    told = {
        "study": comparison.study,
        "claimed": _told(comparison.claimed),
        "other": _told(comparison.other),
        "direction": "less" if comparison.lower else "more",
        "margin": comparison.margin,
    }
    told |= {"diverged": diverged} if diverged else {}
    if contrast is None:
        return told | {"n": 0}
    return told | contrast._asdict() | {"p_adjusted": adjusted, "significant": adjusted < LEVEL}


def _told(side: Side) -> str:
    where = ", ".join(f"{field}={value}" for field, value in side.where.items())
    return f"{side.metric} of {where}"
