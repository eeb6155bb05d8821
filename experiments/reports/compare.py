"""Rows of results against what was published, and against claims."""

import collections
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from configs.claims import Claim, Comparison, Side
from configs.published import CORRECTED, ETA_MEAN, TABLES
from experiments.reports.collect import in_words
from experiments.reports.statistics import Contrast, holm, paired, together, verdict
from experiments.sweeps.tables import Row

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


def decide_claims(
    rows: Sequence[Row], claims: Sequence[Claim], failed: Sequence[Row] = ()
) -> list[Row]:
    """Each claim with its verdict and evidence.

    P-values are adjusted for the number of claims of one source, with or without evidence: what
    else has been run makes no difference.

    Args:
      rows: of finished runs, one per seed. claims: see `configs/claims.py`.
      failed: rows, without metrics, of runs that failed; see `Comparison.lost`.
    """
    compared = [[_Compared(c, rows, failed) for c in claim.comparisons] for claim in claims]
    judged = [
        together([own.tested for own in several if own.tested])
        if all(own.tested for own in several)
        else None
        for several in compared
    ]
    adjusted = [math.nan] * len(claims)
    for places in _by_source(claims):
        p_values = holm([one.p if (one := judged[place]) else 1.0 for place in places])
        for place, p in zip(places, p_values, strict=True):
            adjusted[place] = p
    return [
        {
            "claim": claim.text,
            "source": claim.source,
            "verdict": verdict(found, p) if found else NO_EVIDENCE,
            "p": found.p if found else None,
            "p_adjusted": p if found else None,
            "evidence": [one.told() for one in several],
        }
        for claim, several, found, p in zip(claims, compared, judged, adjusted, strict=True)
    ]


def _by_source(claims: Sequence[Claim]) -> Iterator[list[int]]:
    places = collections.defaultdict(list)
    for place, claim in enumerate(claims):
        places[claim.source].append(place)
    yield from places.values()


class _Compared:
    """A comparison, and what the rows say of it.

    tested: its contrast, positive where it holds; None if fewer than two seeds have both sides.
    """

    def __init__(self, comparison: Comparison, rows: Sequence[Row], failed: Sequence[Row]):
        self.comparison = comparison
        self._own = [self._rows_of(rows, side) for side in self._sides]
        self._failed = [self._rows_of(failed, side) for side in self._sides]
        claimed, other = map(self._by_seed, self._sides, self._own, self._failed)
        self.tested: Contrast | None = None
        if len(claimed.keys() & other.keys()) < 2:
            return
        self._shown = paired(claimed, other)
        sign = -1 if comparison.lower else 1
        self.tested = paired(
            {seed: sign * value + comparison.margin for seed, value in claimed.items()},
            {seed: sign * value for seed, value in other.items()},
        )

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self.comparison.claimed, self.comparison.other

    def _rows_of(self, rows: Sequence[Row], side: Side) -> list[Row]:
        return [
            row
            for row in rows
            if row["study"] == self.comparison.study
            and all(row.get(field) == value for field, value in side.where.items())
        ]

    def _by_seed(self, side: Side, own: list[Row], failed: list[Row]) -> dict[int, float]:
        """{seed: what is compared}, of seeds of which it is known."""
        lost, seeds = self.comparison.lost, [row["seed"] for row in (*own, *failed)]
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"{dict(side.where)} is more than one point of the study {self.comparison.study!r}"
            )
        values = {row["seed"]: row.get(side.metric) for row in own}
        if lost is not None:
            values |= {row["seed"]: lost for row in own if "diverged_after" in row}
            values |= {row["seed"]: lost for row in failed}
        known = {k: v for k, v in values.items() if v is not None and math.isfinite(v)}
        if self.comparison.log:
            return {seed: math.log(value) for seed, value in known.items() if value > 0}
        return known

    def told(self) -> dict[str, Any]:
        """For the table of evidence: the difference is claimed - other, the margin not in it.

        `diverged`: nets that did, `failed`: nets of runs that failed, on either side, if any.
        """
        c = self.comparison
        told = {
            "study": c.study,
            "claimed": _told(c.claimed),
            "other": _told(c.other),
            "direction": "less" if c.lower else "more",
            "margin": c.margin,
            "log": c.log,
        }
        # Both sides may be the same nets, on and off: each counts once.
        own = {id(row): row for side in self._own for row in side}.values()
        diverged = sum("diverged_after" in row for row in own)
        failed = len({id(row) for side in self._failed for row in side})
        told |= {k: v for k, v in (("diverged", diverged), ("failed", failed)) if v}
        if self.tested is None:
            return told | {"n": 0}
        return told | self._shown._asdict() | {"p": self.tested.p}


def _told(side: Side) -> str:
    where = ", ".join(in_words(field, value) for field, value in side.where.items())
    return f"{side.metric}: {where}"
