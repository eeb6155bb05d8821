r"""The time scales of a network along a run, after Khajehabdollahi et al. 2023 (arXiv 2309.12927).

python -m experiments.timescales --run=WORKDIR --out=FILE.json [--episodes=10] [--steps=10000] \
    [--lags=30]

For the untrained network and for every checkpoint that the run kept, a row per seed, as in
`experiments.plateau`. All are in steps; null: there is no such number, as of a constant unit.

  time_constant          of each unit of a leaky_rnn: 1 / leak, the tau of the source
  network_time_scale     of each unit of a recurrent network: its autocorrelation is fitted by one
                         exponential and by the sum of two; the slower time constant of the better,
                         at most ten times --lags. So large it is only a lower bound, as where
                         fast weights drift. exponentials: how many the better has
  population_time_scale  of the sum over units; population_autocovariance has its value at each lag
  half_life              of what is written to plastic layers, by their mean keep on episodes of the
                         task; half_life_sites: of memory layers whose rule has a keep

The first two also have _mean and _median over units. Activity is the output of the cell after every
step of --episodes streams of --steps random inputs, behind 500 steps that do not count: tokens
drawn evenly, without 0, which pads, or standard normal vectors. The episodes of most tasks are too
short, and have a structure that is no time scale of the network.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from plasticity.experiments import build, cli
from plasticity.experiments.probing.time_constants import Sizes, TimeScales
from plasticity.experiments.run.evaluate import kept_parameters
from plasticity.experiments.run.manifest import describe_launch
from plasticity.experiments.run.storage import write_json
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.sweeps.tables import Row
from plasticity.experiments.validate import ConfigError

RUN = flags.DEFINE_string("run", None, "workdir of a run")
OUT = flags.DEFINE_string("out", None, "new JSON file")
EPISODES = flags.DEFINE_integer("episodes", 10, "random streams, and episodes", lower_bound=2)
STEPS = flags.DEFINE_integer("steps", 10_000, "of a stream, at least ten times --lags")
LAGS = flags.DEFINE_integer("lags", 30, "the largest lag of a fit, in steps", lower_bound=10)
SUMMARISED = ("time_constant", "network_time_scale")
SHOWN = (*(f"{name}_median" for name in SUMMARISED), "half_life", "half_life_sites")


def row_of(found: dict[str, Any]) -> Row:
    """What was measured, for JSON: null where a number is not finite."""
    arrays = {name: np.asarray(value, np.float64) for name, value in found.items()}
    for name in [name for name in SUMMARISED if name in arrays]:
        finite = arrays[name][np.isfinite(arrays[name])]
        for summary in (np.mean, np.median) if len(finite) else ():
            arrays[f"{name}_{summary.__name__}"] = summary(finite)
    return {n: np.where(np.isfinite(a), a, None).tolist() for n, a in arrays.items()}


def measured(config: ConfigDict, workdir: Workdir, sizes: Sizes) -> list[Row]:
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


def main() -> int:
    """Measures, and writes the rows."""
    cli.require(run=RUN.value, out=OUT.value)
    sizes = Sizes(EPISODES.value, STEPS.value, LAGS.value)
    if sizes.steps < 10 * sizes.lags:
        raise ConfigError(
            f"--steps={sizes.steps} must be at least {10 * sizes.lags}, ten times "
            f"--lags={sizes.lags}: the mean over a short stream follows its activity"
        )
    workdir = Workdir(RUN.value)
    config, out = workdir.trained_config(), cli.new_path("out", OUT.value)
    rows = measured(config, workdir, sizes)
    about = {"launch": describe_launch(), "run": RUN.value} | sizes._asdict()
    write_json(out, about | {"config": config.to_dict(), "rows": rows})
    print(f"written: {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
