"""result.json as its readers rely on it: sweeps, reports, analyses."""

import pathlib
from typing import Any

from plasticity.experiments.run.checked import check, read
from plasticity.experiments.run.storage import DamagedFileError

PARTS = {"": "metrics", "_off": "metrics_plasticity_off"}  # {suffix of a column: field of a result}
SUMMARY = {"mean": float, "ci95": float, "n": int}  # nan: there is none


def read_result(path: pathlib.Path, steps: int) -> dict[str, Any]:
    """The result of a run; `seeds` holds a record of each seed, also of an only one.

    Args:
      steps: of the run's config. The first versions did not write `steps`, nor `main_metric`, which
        is the loss then.

    Raises:
      DamagedFileError: the file is not what a run writes.
    """
    result = {"main_metric": "loss", "steps": steps} | read(path, dict)
    check(path, result, {"main_metric": str, "steps": int})
    metric = result["main_metric"]
    check(path, result, _record(metric))
    return result | {"seeds": seeds_of(path, result, metric)}


def seeds_of(path: pathlib.Path, record: dict[str, Any], metric: str) -> list[dict[str, Any]]:
    """The seeds of a result or an evaluation, which itself is the record of an only seed."""
    seeds = record.get("seeds") or [record]
    check(path, seeds, [_record(metric)], "seeds")
    if len({seed["seed"] for seed in seeds}) < len(seeds):
        raise DamagedFileError(f"{path}: seeds holds a seed twice")
    return seeds


def _record(metric: str) -> dict[str, Any]:
    """The schema of a seed's record: at least the headline metric, with plasticity on and off."""
    return {part: {metric: SUMMARY, str: SUMMARY} for part in PARTS.values()} | {"seed": int}
