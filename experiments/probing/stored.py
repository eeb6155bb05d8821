"""The stored analysis of a run."""

import pathlib
from typing import Any

from experiments.run.checked import is_number, read
from experiments.run.storage import DamagedFileError

ANALYSIS = "analysis.json"  # in the workdir
TRACES = {"rates": dict, "sizes": dict}
SEED = {"seed": float, "metrics": dict, "untrained": TRACES} | TRACES


def read_analysis(path: pathlib.Path, steps: int) -> dict[str, Any]:
    """analysis.json of a run after `steps` updates; of its metrics, those that are finite.

    Raises:
      DamagedFileError: it cannot be read, or is not the analysis of this run.
    """
    analysis = read(path, {"step": float, "events": [str], "seeds": [SEED]})
    seeds, length = analysis["seeds"], len(analysis["events"])
    traces = [own[k] for seed in seeds for own in (seed, seed["untrained"]) for k in TRACES]
    fits = all(
        own.keys() == traces[0].keys() and all(_is_trace(values, length) for values in own.values())
        for own in traces
    )
    if not traces or not fits or analysis["step"] != steps:
        raise DamagedFileError(
            f"{path} is not an analysis of this run after step {steps}: move it away and repeat"
        )
    for own in seeds:
        own["metrics"] = {name: v for name, v in own["metrics"].items() if is_number(v)}
    return analysis


def _is_trace(values: Any, length: int) -> bool:
    """Whether they are numbers, one per event; null stands for what is not finite."""
    numbers = isinstance(values, list) and all(v is None or is_number(v) for v in values)
    return numbers and len(values) == length > 0
