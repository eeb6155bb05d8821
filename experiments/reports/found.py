"""The files about all runs of a folder: verdicts, published numbers, conditioning."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from plasticity.experiments.reports.runs import Problems, optional
from plasticity.experiments.reports.series import CONDITIONING
from plasticity.experiments.run.checked import check, read
from plasticity.experiments.sweeps.tables import Row

EVIDENCE = dict.fromkeys(("study", "claimed", "other", "direction"), str)
EVIDENCE |= {"margin": float, "log": bool}
CLAIMS = [{"claim": str, "source": str, "verdict": str, "evidence": [EVIDENCE]}]
# A report of these alone needs no run.
ALONE = ("verdicts.json", "published.json", "conditioning.json")


class Found(NamedTuple):
    """Contents of these files; of each that is missing, empty.

    results: results.json of `experiments.reproduce`. conditioning: of `experiments.conditioning`.
    """

    claims: list[Any]
    published: list[Row]
    conditioning: dict[str, Any]
    results: dict[str, Any]


def found_in(root: pathlib.Path, problems: Problems) -> Found:
    """Reads them; a message on each that is damaged is added to problems."""

    def of_root(name: str, reader: Callable, *args: Any) -> Any:
        return optional(problems, reader, root / name, *args) if (root / name).exists() else None

    return Found(
        claims=of_root("verdicts.json", read, CLAIMS) or [],
        published=of_root("published.json", read, [dict]) or [],
        conditioning=of_root("conditioning.json", read, CONDITIONING) or {},
        results=of_root("results.json", _results) or {"studies": {}},
    )


def _results(path: pathlib.Path) -> dict[str, Any]:
    """results.json, whose sections may be missing."""
    sections = ("studies", "failed", "skipped")
    results = {name: {} for name in sections} | read(path, dict)
    check(path, results, {name: {str: str} for name in sections})
    return results
