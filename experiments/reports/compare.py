"""Rows of results compared with published numbers, and tested against claims."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plasticity.configs.claims import Claim, Comparison, Side
from plasticity.configs.published import CORRECTED, ETA_MEAN, TABLES
from plasticity.experiments.reports.labels import setting
from plasticity.experiments.reports.statistics import (
    LEVEL,
    UNDECIDED,
    Question,
    combine,
    holm,
    paired,
    seeds_needed,
    smallest_effect,
    verdict,
)
from plasticity.experiments.run.checked import is_number
from plasticity.experiments.sweeps.tables import Row

NO_EVIDENCE = "no evidence"  # runs are missing


def published_table(rows: Sequence[Row]) -> list[Row]:
    """A row per study, rule and metric: published mean and deviation, ours, and their distance.

    Deviations are over seeds, with ddof 0, as published. `distance` is in published deviations.
    """
    table = []
    for study, rules in TABLES.items():
        for rule, metrics in rules.items():
            published: dict[str, tuple] = dict(metrics)
            if study in ETA_MEAN:
                published["eta_mean"] = (ETA_MEAN[study][rule], None)
            published |= dict.fromkeys(CORRECTED.get(study, ()), (None, None))
            own = _matching(rows, study, {"rule.name": rule})
            for metric, (mean, deviation) in published.items():
                values = [v for row in own if is_number(v := row.get(metric))]
                if not values:
                    continue
                ours = float(np.mean(values))
                row = {"study": study, "rule": rule, "metric": metric}
                row |= {"published": mean, "published_std": deviation, "ours": ours}
                row |= {"ours_std": float(np.std(values)), "n": len(values)}
                row["distance"] = None if deviation is None else abs(ours - mean) / deviation
                table.append(row)
    return table


def within(table: Sequence[Row], deviations: float) -> tuple[int, int]:
    """(cells of the table within so many published deviations, cells that have one)."""
    distances = [row["distance"] for row in table if row["distance"] is not None]
    return sum(distance <= deviations for distance in distances), len(distances)


def decide_claims(
    rows: Sequence[Row], claims: Sequence[Claim], failed: Sequence[Row] = ()
) -> list[Row]:
    """Each claim with its verdict and evidence.

    P-values are adjusted for the number of claims of one source, those without evidence included:
    the verdict on a claim does not depend on which other studies were run. Power is that at Holm's
    strictest level, LEVEL over that number, which an effect passes whatever the others do.

    Args:
      rows: of finished runs, one per seed. claims: see `configs/claims.py`.
      failed: rows, without metrics, of runs that failed; see `Comparison.score_if_diverged`.
    """
    verdicts, asked = [], []
    for claim in claims:
        level = LEVEL / sum(other.source == claim.source for other in claims)
        found = [_compare(c, rows, failed, level) for c in claim.comparisons]
        questions = [question for question, _ in found if question]
        asked.append(questions if len(questions) == len(found) else None)
        row: Row = {"name": claim.name, "claim": claim.text, "source": claim.source}
        row |= {"verdict": NO_EVIDENCE, "p": None, "p_adjusted": None}
        verdicts.append(row | {"evidence": [record for _, record in found]})
    tests = [q and combine([question.contrast for question in q]) for q in asked]
    for source in {claim.source for claim in claims}:
        own = [i for i, claim in enumerate(claims) if claim.source == source]
        adjusted = holm([test.p if (test := tests[i]) else 1.0 for i in own])
        for i, p in zip(own, adjusted, strict=True):
            test, questions, row = tests[i], asked[i], verdicts[i]
            if test and questions:
                row |= {"verdict": verdict(test, p, questions), "p": test.p, "p_adjusted": p}
            if row["verdict"] == UNDECIDED:
                for name in ("seeds_needed", "seeds_if_observed"):
                    needed = [r[name] for r in row["evidence"] if not r["holds"]]
                    row[name] = None if None in needed else max(needed, default=None)
    return verdicts


def _compare(
    c: Comparison, rows: Sequence[Row], failed: Sequence[Row], level: float
) -> tuple[Question | None, Row]:
    """The contrast of a comparison, positive where it holds, and its record for verdicts.json.

    The contrast includes the margin; the difference in the record, claimed - other, does not. None:
    fewer than two seeds have both sides. The record counts the networks that diverged, those that
    exploded, those whose run failed and those without a finite value, on either side, and has the
    training episodes of a seed, the fewest and the most.
    """
    sides = (c.claimed, c.other)
    own = [_matching(rows, c.study, side.where) for side in sides]
    lost = [_matching(failed, c.study, side.where) for side in sides]
    # Both sides may be the same networks, on and off: each counts once.
    networks = {id(row): row for side in own for row in side}.values()
    counts = {
        "diverged": sum("diverged_after" in row for row in networks),
        "exploded": sum("exploded_after" in row for row in networks),
        "failed": len({id(row) for side in lost for row in side}),
    }
    record = {
        "study": c.study,
        **dict(zip(("claimed", "other", "where"), titles(c.claimed, c.other), strict=True)),
        "direction": "less" if c.lower else "more",
        "margin": c.margin,
        "log": c.log,
        "matters": c.matters,
    } | {name: count for name, count in counts.items() if count}
    budgets = [row["train_episodes"] for row in networks if "train_episodes" in row]
    record["train_episodes"] = [min(budgets), max(budgets)] if budgets else None
    claimed, other = (_by_seed(c, *one) for one in zip(sides, own, lost, strict=True))
    known = ((own[0], claimed), (own[1], other))
    if without := sum(row["seed"] not in values for side, values in known for row in side):
        record["without a value"] = without
    if c.log:
        claimed, other = _logarithms(claimed, other)
    if len(claimed.keys() & other.keys()) < 2:
        return None, record | {"n": 0}
    sign = -1 if c.lower else 1
    signed = paired(
        {seed: sign * value + c.margin for seed, value in claimed.items()},
        {seed: sign * value for seed, value in other.items()},
    )
    record["holds"] = signed.mean > 0 and signed.p < level  # whatever Holm does with the others
    wanted = c.margin if c.margin > 0 else c.matters + c.margin  # with a margin, of a tie
    record |= paired(claimed, other)._asdict() | {"p": signed.p}
    seen = smallest_effect(signed.deviation, signed.n, level)
    record["smallest_effect"] = None if seen is None else seen - c.margin
    for name, effect in (("seeds_needed", wanted), ("seeds_if_observed", signed.mean)):
        record[name] = seeds_needed(effect, signed.deviation, level) if effect > 0 else None
    return Question(signed, wanted, c.margin), record


def _matching(rows: Sequence[Row], study: str, where: Mapping[str, Any]) -> list[Row]:
    where = {"study": study} | dict(where)
    return [row for row in rows if all(row.get(f) == value for f, value in where.items())]


def _by_seed(c: Comparison, side: Side, own: list[Row], failed: list[Row]) -> dict[int, float]:
    """{seed: the compared value}, where it is finite."""
    seeds = [row["seed"] for row in (*own, *failed)]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{dict(side.where)} is more than one point of the study {c.study!r}")
    values = {row["seed"]: row.get(side.metric) for row in own}
    if c.score_if_diverged is not None:
        ends = {"diverged_after", "exploded_after"}
        lost = [row for row in own if ends & row.keys()] + failed
        values |= {row["seed"]: c.score_if_diverged for row in lost}
    return {seed: value for seed, value in values.items() if is_number(value)}


def _logarithms(*sides: Mapping[int, float]) -> list[dict[int, float]]:
    """Logarithms by seed. A 0 has none, and counts as the smallest positive value of all sides.

    A perfect network so counts as one that is as good as the best of the others.
    """
    positive = [value for side in sides for value in side.values() if value > 0]
    least = min(positive, default=1.0)
    return [{seed: math.log(max(v, least)) for seed, v in side.items()} for side in sides]


def titles(claimed: Side, other: Side) -> tuple[str, str, str]:
    """Both sides, by the fields in which they differ, and the fields that they share."""

    def title(side: Side, beside: Side) -> str:
        own = {f: v for f, v in side.where.items() if beside.where.get(f) != v}
        return f"{side.metric}: {words(own or side.where)}"

    def words(where: Mapping[str, Any]) -> str:
        return ", ".join(setting(field, value) for field, value in where.items())

    shared = {f: v for f, v in claimed.where.items() if other.where.get(f) == v}
    return title(claimed, other), title(other, claimed), words(shared)
