"""The time scales of a run, as rows: of the untrained network, and of each checkpoint."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.probing.time_constants import Sizes, TimeScales
from plasticity.experiments.run.checked import read
from plasticity.experiments.run.kept import kept_parameters
from plasticity.experiments.run.storage import DamagedFileError, is_there, write_json
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError

TIME_SCALES = "time_scales.json"  # in the folder of a run of a study
SUMMARISED = ("time_constant", "network_time_scale")
SHOWN = (*(f"{name}_median" for name in SUMMARISED), "half_life", "half_life_sites")
SCALARS = tuple(f"{name}_{what}" for name in SUMMARISED for what in ("mean", "median"))


def row_of(found: dict[str, Any]) -> dict[str, Any]:
    """What was measured, for JSON: null where a number is not finite."""
    arrays = {name: np.asarray(value, np.float64) for name, value in found.items()}
    for name in [name for name in SUMMARISED if name in arrays]:
        finite = arrays[name][np.isfinite(arrays[name])]
        for summary in (np.mean, np.median) if len(finite) else ():
            arrays[f"{name}_{summary.__name__}"] = summary(finite)
    return {n: np.where(np.isfinite(a), a, None).tolist() for n, a in arrays.items()}


def measured(config: ConfigDict, workdir: Workdir, sizes: Sizes) -> list[dict[str, Any]]:
    """A row for each seed of the untrained network, and of each checkpoint.

    Raises:
      ConfigError: the network has no time scale that is measured here.
    """
    learner, model = build.make_learner(config), config.model
    hyper = build.make_hyperparameters(config, learner.task)
    scales, rows = TimeScales(learner, hyper, model.get("hidden", 0), sizes), []
    if not (scales.recurrent or scales.writes):
        raise ConfigError(
            f"--run={workdir.path}: rule.name={config.rule.name!r} writes nothing, and activity is "
            "measured of rnn, leaky_rnn and lstm on tokens or vectors, not of "
            f"model.name={model.name!r} on task.name={config.task.name!r}"
        )
    for step, number, params in kept_parameters(config, workdir, learner, hyper):
        row = {"step": step, "seed": number} | row_of(scales.measure(params, jnp.int32(number)))
        rows.append(row)
        shown = "  ".join(f"{n} {row[n]:.3g}" for n in SHOWN if row.get(n) is not None)
        print(f"step {step}, seed {number}: {shown}", flush=True)
    return rows


def time_scales_of(workdir: Workdir) -> list[dict[str, Any]]:
    """{name: number} of each seed of a finished run, trained; measured if that was not yet done.

    The scalars of `experiments.timescales` with its default sizes, and with the suffix _untrained
    those of the network before training.

    Raises:
      DamagedFileError: the file cannot be read, or is not of this run's last step.
    """
    path = workdir.path / TIME_SCALES
    if not is_there(path):
        rows = measured(workdir.trained_config(), workdir, Sizes())
        write_json(path, {"rows": rows})
    rows = read(path, {"rows": [{"step": int, "seed": int}]})["rows"]
    last, steps = max((row["step"] for row in rows), default=0), workdir.result_steps()
    if last != steps:
        raise DamagedFileError(
            f"{path} is of step {last}, and this run has {steps}: move it away and repeat"
        )
    found: dict[int, dict[str, Any]] = {row["seed"]: {} for row in rows}
    for row in rows:
        if row["step"] in (0, last):
            suffix = "" if row["step"] else "_untrained"
            found[row["seed"]] |= {f"{n}{suffix}": row[n] for n in SCALARS if n in row}
    return list(found.values())
