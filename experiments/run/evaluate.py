"""Evaluation on fixed episodes, with plasticity on and off on the same net."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import build
from experiments.run.checkpoint import Checkpoints
from experiments.run.metrics import across_seeds, summarise
from experiments.run.program import Program, program_for
from experiments.run.seeds import Seeds
from experiments.run.storage import write_json
from experiments.run.workdir import Workdir, WorkdirError, differences
from experiments.validate import ConfigError, validate
from plasticity.learner import Learner, RandomStream, TrainState
from plasticity.network import Parameters
from plasticity.rules import RULES
from plasticity.sharding import replicate

Summary = dict[str, dict[str, float]]
# May differ from the trained config: neither changes the shape of a trained parameter.
FREE_SECTIONS = ("seed", "task", "rule", "memory", "evaluate", "checkpoint", "log")


class Evaluator:
    """Compiled evaluation by one program: `evaluator(params, RandomStream.TEST)` -> [(on, off)]."""

    def __init__(self, program: Program, seeds: Seeds, config: ConfigDict):
        self._seeds, self._config, self._task = seeds, config, program.learner.task
        self._metrics = program.evaluate
        self._static = RULES[config.rule.name]().static
        self._mesh = program.learner.layout.mesh(config.evaluate.batch)
        self._program = program
        self._episodes, self._batch = config.evaluate.episodes, config.evaluate.batch

    def __call__(
        self, params: Parameters, split: RandomStream, stop: Callable[[], bool] = lambda: False
    ) -> list[tuple[Summary, Summary]] | None:
        """Each seed's summaries with plasticity on and off; None if `stop` turned true."""
        hyper = build.make_hyperparameters(self._config, self._task, split)
        params = jax.device_put(params, self._program.shardings(params, self._mesh))
        seed, hyper = replicate((self._seeds.array, hyper), self._mesh)
        summaries: list[list[Summary]] = []
        for on in (True, False):
            if summaries and self._static:  # there is nothing to switch off
                summaries.append(summaries[0])
                continue
            parts = []
            for first in range(0, self._episodes, self._batch):
                if stop():
                    return None
                # The last batch may reach past the end: one shape, compiled once.
                index = jnp.arange(first, first + self._batch)
                parts.append(self._metrics(params, seed, split, index, hyper, on=on))
            joined = jax.tree.map(
                lambda *p: np.concatenate(p, axis=-1)[..., : self._episodes], *parts
            )
            summaries.append([summarise(own) for own in self._seeds.split(joined)])
        return list(zip(*summaries, strict=True))


def contrast(metric: str, on: Summary, off: Summary, seeds: int) -> str:
    """One sentence: the metric with plasticity on and off."""
    episodes = f"same {on[metric]['n']} episodes" if seeds == 1 else "same episodes"
    nets = "same net" if seeds == 1 else f"same {seeds} nets"
    return (
        f"{metric}: {_number(on[metric])} with plasticity on, {_number(off[metric])} off "
        f"({nets}, {episodes})"
    )


def _number(told: dict[str, float]) -> str:
    """Mean and interval, with enough digits for small errors."""
    form = "{:.3f}" if told["mean"] == 0 or abs(told["mean"]) >= 0.05 else "{:.1e}"
    return f"{form.format(told['mean'])} +- {form.format(told['ci95'])}"


def records_of(seeds: Seeds, summaries: list[tuple[Summary, Summary]]) -> dict[str, Any]:
    """The entry `seeds` of a result: one record per seed; nothing where there is only one."""
    if len(summaries) == 1:
        return {}
    records = [
        {"seed": seed, "metrics": on, "metrics_plasticity_off": off}
        for seed, (on, off) in zip(seeds.numbers, summaries, strict=True)
    ]
    return {"seeds": records}


def evaluate(config: ConfigDict, path: str) -> int:
    """Evaluates the newest checkpoint in a workdir, perhaps under another task or rule setting.

    Prints every metric and writes `evaluation-STEP.json`, or, if that exists, the next free name.
    """
    workdir = Workdir(path)
    report, metric = _report(config, workdir)
    target = _free_name(workdir, report["step"])
    write_json(target, report)
    print(json.dumps(report, indent=2))
    seeds = len(report.get("seeds", [report]))
    print(contrast(metric, report["metrics"], report["metrics_plasticity_off"], seeds))
    print(f"written: {target}")
    return 0


def evaluated_elsewhere(workdir: Workdir, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The report of the newest checkpoint under overrides; made and written if it is not there."""
    for path in sorted(workdir.path.glob("evaluation-*.json")):
        report = json.loads(path.read_text())
        if report["changed"] == dict(overrides):
            return report
    config = ConfigDict(workdir.load_config())
    config.update_from_flattened_dict(dict(overrides))
    validate(config)
    report, _ = _report(config, workdir)
    write_json(_free_name(workdir, report["step"]), report)
    return report


def _report(config: ConfigDict, workdir: Workdir) -> tuple[dict[str, Any], str]:
    """What `evaluate` writes, and the task's main metric."""
    trained = ConfigDict(workdir.load_config())
    changed = differences(trained.to_dict(), config.to_dict())
    for field, there, here in changed:
        if field.split(".")[0] not in FREE_SECTIONS:
            raise ConfigError(
                f"{field}={here!r}, but the net in --workdir={workdir.path} was trained with "
                f"{there!r}"
            )
    program, seeds = program_for(config), Seeds(config)
    learner = program.learner
    like = _shapes(build.make_learner(trained), seeds, trained)
    wanted = _shapes(learner, seeds, config)
    if jax.tree.map(jnp.shape, like) != jax.tree.map(jnp.shape, wanted):
        raise ConfigError(
            "the parameters of this config have other shapes than the trained ones: "
            + "; ".join(f"{f}: trained {a!r}, here {b!r}" for f, a, b in changed)
        )
    step, params = trained_parameters(trained, workdir)
    summaries = Evaluator(program, seeds, config)(params, RandomStream.TEST)
    assert summaries is not None  # nothing stops it
    on, off = (across_seeds(own) for own in zip(*summaries, strict=True))
    report = {
        "step": step,
        "changed": {field: here for field, _, here in changed},
        "metrics": on,
        "metrics_plasticity_off": off,
    }
    return report | records_of(seeds, summaries), learner.task.main_metric


def trained_parameters(config: ConfigDict, workdir: Workdir) -> tuple[int, Parameters]:
    """The newest checkpoint of a run: its step, and what was learned."""
    state = trained_state(config, workdir)
    return int(np.max(state.step)), state.params


def trained_state(config: ConfigDict, workdir: Workdir) -> TrainState:
    """The newest checkpoint of a run, on the first device of this process.

    Raises:
      WorkdirError: there is none.
    """
    checkpoints = Checkpoints(workdir.checkpoints, config.checkpoint.keep)
    if checkpoints.latest() is None:
        raise WorkdirError(f"--workdir={workdir.path} holds no checkpoint yet")
    like = _shapes(build.make_learner(config), Seeds(config), config)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    state, _ = checkpoints.restore(like, jax.tree.map(lambda _: here, like))
    checkpoints.close()
    return state


def _shapes(learner: Learner, seeds: Seeds, config: ConfigDict) -> TrainState:
    hyper = build.make_hyperparameters(config, learner.task)
    return jax.eval_shape(seeds.map(learner.init, True, False), seeds.array, hyper)


def _free_name(workdir: Workdir, step: int):
    names = (workdir.path / f"evaluation-{step}{suffix}.json" for suffix in _suffixes())
    return next(name for name in names if not name.exists())


def _suffixes():
    yield ""
    count = 2
    while True:
        yield f"-{count}"
        count += 1
