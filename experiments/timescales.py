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

from absl import flags

from plasticity.experiments import cli
from plasticity.experiments.probing.time_constants import Sizes
from plasticity.experiments.probing.time_scales import measured
from plasticity.experiments.run.manifest import describe_launch
from plasticity.experiments.run.storage import write_json
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError

DEFAULT = Sizes()
RUN = flags.DEFINE_string("run", None, "workdir of a run")
OUT = flags.DEFINE_string("out", None, "new JSON file")
EPISODES = flags.DEFINE_integer("episodes", DEFAULT.episodes, "random streams, and episodes", 2)
STEPS = flags.DEFINE_integer("steps", DEFAULT.steps, "of a stream, at least ten times --lags")
LAGS = flags.DEFINE_integer("lags", DEFAULT.lags, "the largest lag of a fit, in steps", 10)


def main() -> int:
    """Measures, and writes the rows."""
    cli.require(run=RUN.value, out=OUT.value)
    sizes = Sizes(EPISODES.value, STEPS.value, LAGS.value)
    if sizes.steps < 10 * sizes.lags:
        raise ConfigError(
            f"--steps={sizes.steps} must be at least {10 * sizes.lags}, ten times "
            f"--lags={sizes.lags}: the mean over a short stream follows its activity"
        )
    workdir = Workdir(RUN.value, "--run")
    config, out = workdir.trained_config(), cli.new_path("out", OUT.value)
    rows = measured(config, workdir, sizes)
    about = {"launch": describe_launch(), "run": RUN.value} | sizes._asdict()
    write_json(out, about | {"config": config.to_dict(), "rows": rows})
    print(f"written: {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
