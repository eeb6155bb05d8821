"""Verdicts of two campaigns side by side, what they rest on, and what a third one could see."""

import collections
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plasticity.configs.claim_lists import CLAIMS
from plasticity.configs.claims import Claim
from plasticity.configs.studies import BUDGETS, PRESETS, Study
from plasticity.experiments.reports.compare import decide_claims, titles
from plasticity.experiments.reports.labels import LOST
from plasticity.experiments.reports.statistics import LEVEL, smallest_effect
from plasticity.experiments.run.checked import check
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.sweeps.campaign import (
    RESULTS,
    config_field,
    points_of,
    stored_results,
)
from plasticity.experiments.sweeps.tables import Row

BEFORE = ("verdict", "p_adjusted", "train_episodes", "seeds")


def earlier_verdicts(folder: pathlib.Path) -> dict[str, Row]:
    """{name: claim with its verdict} of an earlier campaign, decided anew from its results.

    Raises:
      DamagedFileError: the folder holds no results of a campaign that tests claims.
    """
    path = folder / RESULTS
    if not path.exists():
        raise DamagedFileError(f"{folder} holds no {RESULTS} of a campaign")
    results = stored_results(folder)
    row = {"study": str, "seed": int}
    check(path, results, {"rows": [row], "preset": str, "budget": str})
    check(path, results.get("lost", []), [row], "lost")
    preset, budget = results["preset"], results["budget"]
    if preset not in CLAIMS:
        raise DamagedFileError(f"{path} is of the preset {preset!r}, which tests no claims")
    if budget not in BUDGETS:
        raise DamagedFileError(f"{path}: budget={budget!r} must be one of {', '.join(BUDGETS)}")
    studies, settings = PRESETS[preset](), BUDGETS[budget][preset]
    rows = [row | _budget(row, studies, settings) for row in results["rows"]]
    try:
        decided = decide_claims(rows, CLAIMS[preset](), results.get("lost", []))
    except ValueError as error:
        raise DamagedFileError(f"{path}: {error}") from error
    return {claim["name"]: claim for claim in decided}


def _budget(row: Row, studies: Mapping[str, Study], settings: Mapping[str, Any]) -> Row:
    """`train_episodes` of a row that was written before rows had it: that of its point."""
    if "train_episodes" in row or row["study"] not in studies:
        return {}
    fields = {field: value for field, value in row.items() if "." in field}
    for point in points_of(pathlib.Path(), row["study"], studies[row["study"]], settings):
        config = point.config()
        if all(config_field(config, field) in (value, ()) for field, value in fields.items()):
            return {"train_episodes": config.train.steps * config.train.batch}
    return {}


def side_by_side(verdicts: Sequence[Row], earlier: Mapping[str, Row]) -> list[Row]:
    """The claims, each with `before`, its earlier verdict, and `because`, what it rests on now."""
    rows = []
    for claim in verdicts:
        found = earlier.get(claim["name"])
        before = None if found is None else dict(zip(BEFORE, _summary(found), strict=True))
        rows.append(claim | {"because": because(claim), "before": before})
    return rows


def _summary(claim: Row) -> tuple[Any, ...]:
    budgets = [record["train_episodes"] for record in claim["evidence"]]
    known = [episodes for pair in budgets if pair for episodes in pair]
    seeds = min((record["n"] for record in claim["evidence"]), default=0)
    episodes = [min(known), max(known)] if known else None
    return claim["verdict"], claim["p_adjusted"], episodes, seeds


def because(claim: Row) -> str:
    """One sentence on what was measured, with intervals."""
    _, _, episodes, seeds = _summary(claim)
    if not seeds:
        return "Its runs are missing."
    budget = "" if not episodes else f", {_range(episodes)} training episodes each"
    records = claim["evidence"]
    parts = [_measured(record, _where(record, records)) for record in records]
    needed = ""
    if claim["verdict"] == "undecided":
        needed = f"; {_needed(claim)}"
    return f"{seeds} paired seeds{budget}: {'; '.join(parts)}{needed}."


def _needed(claim: Row) -> str:
    """What an undecided claim would need."""
    if count := claim.get("seeds_needed"):
        fewer = claim.get("seeds_if_observed") or count
        observed = f", {fewer} if it is the one observed" if fewer < count else ""
        return f"would need {count} seeds to see the smallest effect that matters{observed}"
    open_ones = [record for record in claim["evidence"] if not record.get("holds")]
    if any(record.get("matters", 0) + record["margin"] <= 0 for record in open_ones):
        return "its source names no difference that would matter"
    return "would need more than 10,000 seeds"


def _range(episodes: Sequence[int]) -> str:
    low, high = episodes
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _where(record: Row, records: Sequence[Row]) -> str:
    """What tells a comparison from others of the same two sides, such as ", learning rate .001"."""
    sides = record["claimed"], record["other"]
    alike = [one for one in records if (one["claimed"], one["other"]) == sides]
    shared = set.intersection(*(set(_places(one)) for one in alike))
    return "".join(f", {part}" for part in _places(record) if part not in shared)


def _places(record: Row) -> list[str]:
    return [record["study"].replace("_", " "), *filter(None, record["where"].split(", "))]


def _measured(record: Row, where: str) -> str:
    if "mean" not in record:
        return f"{record['claimed']} against {record['other']}{where}: no pairs"
    values = [record[name] for name in ("mean", "low", "high")]
    if record["log"]:
        values = [math.exp(min(value, 700)) for value in values]
    mean, low, high = (f"{value:.3g}" for value in values)
    kind = "ratio" if record["log"] else "difference"
    lost = "".join(f", {record[what]} {what}" for what in LOST if what in record)
    metric, _, there = record["other"].partition(": ")
    other = there if record["claimed"].startswith(f"{metric}: ") else record["other"]
    return f"{record['claimed']} against {other}{where}, {kind} {mean} [{low}, {high}]{lost}"


def paired_seeds(points: Iterable[tuple[str, Mapping[str, Any], int]]) -> dict[str, int]:
    """The fewest seeds of a comparison in each study.

    Args:
      points: (study, {chosen field: value}, seeds). Points that differ in `seed` alone are seeds of
        one network.
    """
    of_networks: collections.Counter[tuple[str, str]] = collections.Counter()
    for study, chosen, count in points:
        network = sorted((field, str(value)) for field, value in chosen.items() if field != "seed")
        of_networks[study, str(network)] += count
    fewest: dict[str, int] = {}
    for (study, _), count in of_networks.items():
        fewest[study] = min(fewest.get(study, count), count)
    return fewest


def power_plan(
    claims: Sequence[Claim], earlier: Mapping[str, Row], seeds: Mapping[str, int]
) -> list[Row]:
    """What the seeds to come can see, by the spread of an earlier campaign.

    Args:
      claims: to be tested. earlier: of `earlier_verdicts`. seeds: {study: paired seeds}.

    Returns:
      A row for each comparison of a claim that was tested earlier, by the same metric. Its
      `smallest_effect` is None where so few seeds see nothing.
    """
    rows = []
    for claim in claims:
        level = LEVEL / sum(other.source == claim.source for other in claims)
        records = earlier[claim.name]["evidence"] if claim.name in earlier else []
        # The same metric of the same two sides: a spread of losses says nothing of a recall. Of
        # several comparisons of the two, the one of the same study and settings.
        spread: dict[tuple, float] = {}
        for r in records:
            if "deviation" in r:
                sides = (r["claimed"], r["other"], r["log"])
                spread |= dict.fromkeys((sides, (*sides, r["study"], r["where"])), r["deviation"])
        for comparison in claim.comparisons:
            claimed, other, where = titles(comparison.claimed, comparison.other)
            sides = (claimed, other, comparison.log)
            deviation = spread.get((*sides, comparison.study, where), spread.get(sides))
            n = seeds.get(comparison.study, 0)
            if deviation is not None and n > 1:
                seen = smallest_effect(deviation, n, level)
                row = {"name": claim.name, "study": comparison.study, "where": where}
                row |= {"claimed": claimed, "other": other, "seeds": n, "deviation": deviation}
                row["smallest_effect"] = None if seen is None else seen - comparison.margin
                rows.append(row | {"matters": comparison.matters, "log": comparison.log})
    return rows


def power_told(row: Row) -> str:
    """A row of `power_plan` in words."""
    if row["smallest_effect"] is None:
        seen = "see nothing: all earlier differences are equal"
    else:
        effects = [row["smallest_effect"], row["matters"]]
        small, matters = map(math.exp, effects) if row["log"] else effects
        kind = "ratio" if row["log"] else "difference"
        seen = f"see a {kind} of {small:.3g}; {matters:.3g} matters"
    return f"{row['name']}: {row['seeds']} seeds {seen}"
