"""The stored analysis of a run."""

import pathlib
from typing import Any

from experiments.run.checked import is_number, read
from experiments.run.storage import DamagedFileError

ANALYSIS = "analysis.json"  # in the workdir
TRACES = {"rates": {str: list}, "sizes": {str: list}}  # {layer: a number or null per event}
SEED = {"seed": int, "metrics": dict, "untrained": TRACES} | TRACES


def read_analysis(path: pathlib.Path, steps: int) -> dict[str, Any]:
    """analysis.json of a run after `steps` updates; of its metrics, those that are finite.

    `layers`, the names of the layers, is added.

    Raises:
      DamagedFileError: it cannot be read, or is not the analysis of this run.
    """
    analysis = read(path, {"step": int, "events": [str], "seeds": [SEED]})
    seeds, length = analysis["seeds"], len(analysis["events"])
    traces = [own[k] for seed in seeds for own in (seed, seed["untrained"]) for k in TRACES]
    layers = [list(trace) for trace in traces][:1]
    rows = [row for trace in traces for row in trace.values()]
    # Null stands for what is not finite.
    fits = all(len(row) == length and all(v is None or is_number(v) for v in row) for row in rows)
    fits = fits and all(sorted(trace) == sorted(*layers) for trace in traces)
    if not (rows and length and fits) or analysis["step"] != steps:
        raise DamagedFileError(
            f"{path} is not an analysis of this run after step {steps}: move it away and repeat"
        )
    for own in seeds:
        own["metrics"] = {name: v for name, v in own["metrics"].items() if is_number(v)}
    return analysis | {"layers": layers[0]}
