r"""Why training stays on a plateau: retention, gates, gradients and curvature along a run.

python -m experiments.plateau --run=WORKDIR --out=FILE.json [--episodes=32] [--eigenvalues=0]

For the untrained network and for every checkpoint that the run kept (train with
--config.checkpoint.every=100 --config.checkpoint.keep=100), a row per seed: the loss and the
metrics of the task, and what `experiments/probing/plateau.py` measures: `retention` (what the end
of the episode still holds of writes at informative steps), `half_life`, `eta`, `write`, `gate`,
`gate_shut`, `gate_open`, `internal_loss`, `grad`, `grad_alpha`, `grad_modulator` and
`grad_through_writes` (the share of the outer gradient that passes through the writes). With
--eigenvalues=N, the N extreme eigenvalues of the Hessian of the outer loss; each takes minutes.
"""

import jax.numpy as jnp
from absl import flags
from ml_collections import ConfigDict

from plasticity.experiments import build, cli
from plasticity.experiments.probing.plateau import Diagnosis
from plasticity.experiments.run.kept import kept_parameters
from plasticity.experiments.run.manifest import describe_launch
from plasticity.experiments.run.storage import write_json
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.sweeps.tables import Row
from plasticity.experiments.validate import ConfigError

RUN = flags.DEFINE_string("run", None, "workdir of a run of a plastic network")
OUT = flags.DEFINE_string("out", None, "new JSON file")
EPISODES = flags.DEFINE_integer("episodes", 32, "episodes to measure on", lower_bound=1)
EIGENVALUES = flags.DEFINE_integer("eigenvalues", 0, "how many; 0: none", lower_bound=0)
SHOWN = ("loss", "retention", "half_life", "write", "gate", "grad", "grad_through_writes")


def diagnosed(config: ConfigDict, workdir: Workdir, episodes: int, eigenvalues: int) -> list[Row]:
    """A row for each seed of the untrained network, and of each checkpoint."""
    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    diagnosis, rows = Diagnosis(learner, hyper, episodes), []
    for step, number, params in kept_parameters(config, workdir, learner, hyper):
        seed = jnp.int32(number)
        row: Row = {"step": step, "seed": number} | diagnosis.measure(params, seed)
        if eigenvalues:
            row["eigenvalues"] = diagnosis.eigenvalues(params, seed, eigenvalues)
        rows.append(row)
        shown = "  ".join(f"{name} {row[name]:.3g}" for name in SHOWN)
        print(f"step {step}, seed {number}: {shown}", flush=True)
    return rows


def main() -> int:
    """Measures, and writes the rows."""
    cli.require(run=RUN.value, out=OUT.value)
    workdir = Workdir(RUN.value, "--run")
    config = workdir.trained_config()
    if not build.writes_layers(config):
        raise ConfigError(
            f"--run={RUN.value}: rule.name={config.rule.name!r} writes nothing in plastic layers"
        )
    if not build.make_task(config).phases:
        raise ConfigError(
            f"--run={RUN.value}: task.name={config.task.name!r} names no phases (Task.phases), so "
            "it is not known which steps are informative"
        )
    out = cli.new_path("out", OUT.value)
    rows = diagnosed(config, workdir, EPISODES.value, EIGENVALUES.value)
    about = {"launch": describe_launch(), "run": RUN.value, "episodes": EPISODES.value}
    write_json(out, about | {"config": config.to_dict(), "rows": rows})
    print(f"written: {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
