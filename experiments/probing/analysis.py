"""Analyses of runs: made from a trained network, stored in the workdir, and read again."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.probing.probe import Probe
from plasticity.experiments.run.checked import check, is_number, read
from plasticity.experiments.run.evaluate import trained_parameters
from plasticity.experiments.run.kept import initial_parameters
from plasticity.experiments.run.result import read_result
from plasticity.experiments.run.storage import (
    DamagedFileError,
    WorkdirError,
    check_folder,
    is_there,
    write_json,
)
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError
from plasticity.spectra import MEASURES, slow_matrix
from plasticity.types import PyTree

ANALYSIS = "analysis.json"  # in the workdir
TRACES = {"rates": {str: list}, "sizes": {str: list}}  # {layer: a number or null per event}
# Of analyses that have them; null where a matrix is not finite.
MATRIX = {"step": int, "after": str, "layer": str, "weights": str}
SEED = {"seed": int, "metrics": dict, "untrained": TRACES} | TRACES


def analyse(config: ConfigDict, params: PyTree) -> list[dict[str, Any]]:
    """A record per seed, as `experiments.analysis` describes it."""
    probe, records = Probe(config), []
    for which, number in enumerate(probe.seeds.numbers):
        seed, own = jnp.int32(number), probe.seeds.pick(params, which)
        first = initial_parameters(config, probe.learner, number, probe.hyper)
        traces, metrics, held = probe.observe(own, seed)
        traces_before, before, _ = probe.observe(first, seed)
        before |= probe.decodings(first, seed)
        metrics |= probe.decodings(own, seed) | probe.interventions(own, seed, held)
        metrics |= {f"{name}_untrained": value for name, value in before.items()}
        spectra = {}
        for name, fast in traces.pop("fast").items():
            if (matrix := slow_matrix(own.slow, name)) is None:
                continue
            slow = np.linalg.svd(matrix, compute_uv=False)
            spectra[name] = {"slow": slow, "fast": fast}
            metrics[f"fast_to_slow_{name}"] = float(np.linalg.norm(fast) / np.linalg.norm(slow))
        traces_before.pop("fast")
        record = {"seed": number, "metrics": metrics, "spectra": spectra}
        record["matrices"] = probe.matrices(own, seed)
        records.append(record | {"untrained": traces_before} | traces)
    return records


def analysis_of(workdir: Workdir) -> dict[str, Any]:
    """analysis.json of a finished run; made if it is missing.

    Raises:
      ConfigError: the network is not plastic. WorkdirError: the run is not finished, or a file of
      it is damaged.
    """
    config = ConfigDict(workdir.load_config())
    path = workdir.path / ANALYSIS
    if not is_there(workdir.result):
        raise WorkdirError(
            f"{workdir.path} is not finished, for it has no result.json: repeat its command"
        )
    steps = read_result(workdir.result, config.train.steps)["steps"]
    if is_there(path):
        return read_analysis(path, steps)
    config = workdir.trained_config()
    if not build.writes_layers(config):
        raise ConfigError(
            f"{workdir.path} holds a network without plastic layers that are written "
            f"(model.name={config.model.name!r}, rule.name={config.rule.name!r}): an analysis "
            "needs some"
        )
    if not workdir.saved_steps():
        raise WorkdirError(f"{workdir.checkpoints} holds no checkpoint with trained parameters")
    check_folder("run", workdir.path)
    step, params = trained_parameters(config, workdir)
    found = {"step": step, "events": build.make_task(config).events}
    write_json(path, jax.tree.map(_plain, found | {"seeds": analyse(config, params)}))
    return read_analysis(path, steps)


def _plain(value: Any) -> Any:
    """A leaf for JSON, with five significant digits; null where it is not finite."""
    if isinstance(value, str | int):
        return value
    rounded = np.vectorize(lambda x: float(f"{x:.5g}") if np.isfinite(x) else None, otypes=[object])
    return rounded(value).tolist()


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
    matrices = [seed.setdefault("matrices", []) for seed in seeds]
    check(path, matrices, [[MATRIX]], "matrices")
    measures = [[row.get(name) for name in MEASURES] for own in matrices for row in own]
    # Null stands for what is not finite.
    fits = all(len(row) == length for row in rows)
    fits = fits and all(v is None or is_number(v) for row in rows + measures for v in row)
    fits = fits and all(sorted(trace) == sorted(*layers) for trace in traces)
    if not (rows and length and fits) or analysis["step"] != steps:
        raise DamagedFileError(
            f"{path} is not an analysis of this run after step {steps}: move it away and repeat"
        )
    for own in seeds:
        own["metrics"] = {name: v for name, v in own["metrics"].items() if is_number(v)}
    return analysis | {"layers": layers[0]}
