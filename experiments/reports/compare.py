"""Rows of results compared with published numbers, and tested against claims."""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from configs.claims import Claim, Comparison, Side
from configs.published import CORRECTED, ETA_MEAN, TABLES
from experiments.reports.labels import setting
from experiments.reports.runs import is_number
from experiments.reports.statistics import CombinedTest, combine, holm, paired, verdict
from experiments.sweeps.tables import Row

NO_EVIDENCE = "no evidence"  # runs are missing


def published_table(rows: Sequence[Row]) -> list[Row]:
    """A row per study, rule and metric: published mean and deviation, ours, and their distance.

    Deviations are over seeds, with ddof 0, as published. `distance` is in published deviations.
    """
    table = []
    for study, rules in TABLES.items():
        for rule, metrics in rules.items():
            own = [row for row in rows if row["study"] == study and row["rule.name"] == rule]
            published: dict[str, tuple] = dict(metrics)
            if study in ETA_MEAN:
                published["eta_mean"] = (ETA_MEAN[study][rule], None)
            published |= dict.fromkeys(CORRECTED.get(study, ()), (None, None))
            for metric, known in published.items():
                values = [v for row in own if is_number(v := row.get(metric))]
                if values:
                    cell = {"study": study, "rule": rule, "metric": metric}
                    table.append(cell | _beside(np.array(values, np.float64), *known))
    return table


def _beside(values: np.ndarray, mean: float | None, deviation: float | None) -> Row:
    known = mean is not None and deviation is not None
    return {
        "published": mean,
        "published_std": deviation,
        "ours": float(values.mean()),
        "ours_std": float(values.std()),
        "n": len(values),
        "distance": abs(float(values.mean()) - mean) / deviation if known else None,
    }


def within(table: Sequence[Row], deviations: float) -> tuple[int, int]:
    """(cells of the table within so many published deviations, cells that have one)."""
    distances = [row["distance"] for row in table if row["distance"] is not None]
    return sum(distance <= deviations for distance in distances), len(distances)


def decide_claims(
    rows: Sequence[Row], claims: Sequence[Claim], failed: Sequence[Row] = ()
) -> list[Row]:
    """Each claim with its verdict and evidence.

    P-values are adjusted for the number of claims of one source, those without evidence included:
    the verdict on a claim does not depend on which other studies were run.

    Args:
      rows: of finished runs, one per seed. claims: see `configs/claims.py`.
      failed: rows, without metrics, of runs that failed; see `Comparison.score_if_diverged`.
    """
    evidence = [[_Evidence(c, rows, failed) for c in claim.comparisons] for claim in claims]
    tests = [_combined(own) for own in evidence]
    adjusted: dict[int, float] = {}
    by_source = collections.defaultdict(list)
    for index, claim in enumerate(claims):
        by_source[claim.source].append(index)
    for own in by_source.values():
        p_values = [test.p if (test := tests[index]) else 1.0 for index in own]
        adjusted |= zip(own, holm(p_values), strict=True)
    return [
        {
            "claim": claim.text,
            "source": claim.source,
            "verdict": verdict(test, adjusted[index]) if test else NO_EVIDENCE,
            "p": test.p if test else None,
            "p_adjusted": adjusted[index] if test else None,
            "evidence": [one.record() for one in evidence[index]],
        }
        for index, (claim, test) in enumerate(zip(claims, tests, strict=True))
    ]


class _Evidence:
    """A comparison, and its contrast over the seeds that have both sides.

    contrast: claimed - other; None if fewer than two seeds have both sides. signed: the same,
    positive where the comparison holds, its margin included.
    """

    def __init__(self, comparison: Comparison, rows: Sequence[Row], failed: Sequence[Row]):
        self.comparison, self.contrast, self.signed = comparison, None, None
        sides = (comparison.claimed, comparison.other)
        self._rows = [self._matching(rows, side) for side in sides]
        self._failed = [self._matching(failed, side) for side in sides]
        claimed, other = map(self._by_seed, sides, self._rows, self._failed)
        if len(claimed.keys() & other.keys()) < 2:
            return
        sign, margin = -1 if comparison.lower else 1, comparison.margin
        self.contrast = paired(claimed, other)
        self.signed = paired(
            {seed: sign * value + margin for seed, value in claimed.items()},
            {seed: sign * value for seed, value in other.items()},
        )

    def _matching(self, rows: Sequence[Row], side: Side) -> list[Row]:
        where = {"study": self.comparison.study} | dict(side.where)
        return [row for row in rows if all(row.get(f) == value for f, value in where.items())]

    def _by_seed(self, side: Side, own: list[Row], failed: list[Row]) -> dict[int, float]:
        """{seed: the compared value}, where it is finite."""
        score, seeds = self.comparison.score_if_diverged, [row["seed"] for row in (*own, *failed)]
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"{dict(side.where)} is more than one point of the study {self.comparison.study!r}"
            )
        values = {row["seed"]: row.get(side.metric) for row in own}
        if score is not None:
            values |= {row["seed"]: score for row in own if "diverged_after" in row}
            values |= {row["seed"]: score for row in failed}
        known = {seed: value for seed, value in values.items() if is_number(value)}
        if self.comparison.log:
            return {seed: math.log(value) for seed, value in known.items() if value > 0}
        return known

    def record(self) -> dict[str, Any]:
        """For verdicts.json: the margin is beside the difference, not in it.

        `diverged`: networks that diverged, `failed`: those of runs that failed, on either side.
        """
        c = self.comparison
        # Both sides may be the same networks, on and off: each counts once.
        rows = {id(row): row for side in self._rows for row in side}.values()
        counts = {
            "diverged": sum("diverged_after" in row for row in rows),
            "failed": len({id(row) for side in self._failed for row in side}),
        }
        record = {
            "study": c.study,
            "claimed": _title(c.claimed),
            "other": _title(c.other),
            "direction": "less" if c.lower else "more",
            "margin": c.margin,
            "log": c.log,
        } | {name: count for name, count in counts.items() if count}
        if self.contrast is None or self.signed is None:
            return record | {"n": 0}
        return record | self.contrast._asdict() | {"p": self.signed.p}


def _combined(evidence: Sequence[_Evidence]) -> CombinedTest | None:
    """The combined test of a claim; None where a comparison has no evidence."""
    contrasts = [one.signed for one in evidence if one.signed]
    return combine(contrasts) if len(contrasts) == len(evidence) else None


def _title(side: Side) -> str:
    where: Mapping[str, Any] = side.where
    return f"{side.metric}: {', '.join(setting(field, value) for field, value in where.items())}"
