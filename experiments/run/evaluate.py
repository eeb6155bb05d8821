"""Evaluation on fixed episodes, with plasticity on and off on the same net."""

import copy
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.run import hosts
from plasticity.experiments.run.checked import read
from plasticity.experiments.run.checkpoint import Checkpoints
from plasticity.experiments.run.metrics import across_seeds, summarise
from plasticity.experiments.run.program import Program, inputs_of, program_for
from plasticity.experiments.run.result import PARTS, SUMMARY
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.storage import (
    DamagedFileError,
    WorkdirError,
    check_folder,
    write_json,
)
from plasticity.experiments.run.stored_config import differences
from plasticity.experiments.run.workdir import Workdir, free_name
from plasticity.experiments.validate import ConfigError, validate
from plasticity.learner import Learner, RandomStream, TrainState
from plasticity.network import Parameters
from plasticity.sharding import replicate

Summary = dict[str, dict[str, float]]
# Of evaluation-*.json.
REPORT = {"step": int, "changed": dict} | {part: {str: SUMMARY} for part in PARTS.values()}
# Sections that may differ from the trained config: no shape of a trained parameter depends on them.
FREE_SECTIONS = ("seed", "task", "rule", "memory", "evaluate", "checkpoint", "log", "mesh")
# A trained network can be tested without its attention: no parameter depends on the window.
FREE_FIELDS = ("model.attention_window",)


def evaluate_parameters(
    program: Program,
    configs: Sequence[ConfigDict],
    params: Parameters,
    split: RandomStream,
    stop: Callable[[], bool] = lambda: False,
) -> list[tuple[Summary, Summary]] | None:
    """(plasticity on, plasticity off) of each seed of the runs; None once `stop()` is true.

    A network that writes nothing has one summary for both.
    """
    modes = (True,) if build.is_static(configs[0]) else (True, False)
    found = episode_metrics(program, configs, params, split, modes, stop)
    if found is None:
        return None
    summaries = [[summarise(own) for own in Seeds(*configs).split(values)] for values in found]
    return list(zip(summaries[0], summaries[-1], strict=True))


def episode_metrics(
    program: Program,
    configs: Sequence[ConfigDict],
    params: Parameters,
    split: RandomStream,
    modes: Sequence[bool],
    stop: Callable[[], bool],
) -> list[dict[str, np.ndarray]] | None:
    """{metric: [seeds, n] or [n]} of the n fixed episodes, for plasticity on or off as in `modes`.

    None once `stop()` is true. `configs`: of the runs of the program.
    """
    episodes, batch = configs[0].evaluate.episodes, configs[0].evaluate.batch
    mesh = program.learner.layout.mesh(batch)
    hyper = inputs_of(configs, program.learner.task, split)
    params = jax.device_put(params, program.shardings(params, mesh))
    seed, hyper = replicate((Seeds(*configs).array, hyper), mesh)
    found = []
    for on in modes:
        parts = []
        for first in range(0, episodes, batch):
            if stop():
                return None
            # The last batch may exceed the episodes: all batches share one compiled shape.
            index = jnp.arange(first, first + batch)
            parts.append(program.evaluate(params, seed, split, index, hyper, on=on))
        found.append(jax.tree.map(lambda *p: np.concatenate(p, axis=-1)[..., :episodes], *parts))
    return found


def contrast_of(config: ConfigDict, metric: str, summaries: list[tuple[Summary, Summary]]) -> str:
    """`contrast` over the seeds of a run."""
    on, off = (across_seeds(seeds) for seeds in zip(*summaries, strict=True))
    return contrast(metric, on, None if build.is_static(config) else off, len(summaries))


def contrast(metric: str, on: Summary, off: Summary | None, seeds: int) -> str:
    """One sentence: the metric with plasticity on and off. None: a static net, which has one."""
    episodes = f"{on[metric]['n']} episodes" if seeds == 1 else "episodes"
    if off is None:
        return f"{metric}: {_interval(on[metric])} ({episodes if seeds == 1 else f'{seeds} nets'})"
    nets = "same net" if seeds == 1 else f"same {seeds} nets"
    return (
        f"{metric}: {_interval(on[metric])} with plasticity on, {_interval(off[metric])} off "
        f"({nets}, same {episodes})"
    )


def _interval(summary: dict[str, float]) -> str:
    """Mean and interval, with enough digits for small errors."""
    form = "{:.3f}" if summary["mean"] == 0 or abs(summary["mean"]) >= 0.05 else "{:.1e}"
    return f"{form.format(summary['mean'])} +- {form.format(summary['ci95'])}"


def averaged(seeds: Seeds, summaries: list[tuple[Summary, Summary]]) -> dict[str, Any]:
    """The metrics of a result over all seeds, and, of several, a record `seeds` of each."""
    on, off = (across_seeds(own) for own in zip(*summaries, strict=True))
    metrics: dict[str, Any] = {"metrics": on, "metrics_plasticity_off": off}
    if len(summaries) > 1:
        metrics["seeds"] = [
            {"seed": seed, "metrics": on, "metrics_plasticity_off": off}
            for seed, (on, off) in zip(seeds.numbers, summaries, strict=True)
        ]
    return metrics


def evaluate(config: ConfigDict, path: str) -> int:
    """Evaluates the newest checkpoint in a workdir, perhaps under another task or rule setting.

    Prints every metric and writes `evaluation-STEP.json`, or, if that exists, the next free name.
    """
    workdir = Workdir(path)
    check_folder("workdir", workdir.path)
    report, metric, target = _report(config, workdir)
    print(json.dumps(report, indent=2))
    on, off = (report[part] for part in PARTS.values())
    off = None if build.is_static(config) else off
    print(contrast(metric, on, off, len(report.get("seeds", [report]))))
    print(f"written: {target}")
    return 0


def evaluated_elsewhere(workdir: Workdir, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The report of the newest checkpoint under overrides; made and written if it is not there.

    Reports that are damaged are named on stderr and left as they are.
    """
    newest = max(workdir.saved_steps(), default=None)
    trained = workdir.trained_config()
    config = copy.deepcopy(trained)
    config.update_from_flattened_dict(dict(overrides))
    changed = {field: here for field, _, here in _changed(trained, config)}
    for path in sorted(workdir.path.glob("evaluation-*.json")):
        try:
            report = read(path, REPORT)
        except DamagedFileError as error:
            print(f"{error}: it is not used", file=sys.stderr, flush=True)
            continue
        if report["changed"] == changed and newest in (None, report["step"]):
            return report
    validate(config, training=False)
    return _report(config, workdir)[0]


def _report(config: ConfigDict, workdir: Workdir) -> tuple[dict[str, Any], str, pathlib.Path]:
    """Evaluates and writes: the report, the task's headline metric and the file."""
    trained = workdir.trained_config()
    changed = _changed(trained, config)
    for field, there, here in changed:
        if not may_change(field):
            raise ConfigError(
                f"{field}={here!r}, but the net in --workdir={workdir.path} was trained with "
                f"{there!r}"
            )
    program = program_for(config)
    if _shapes(build.make_learner(trained), trained) != _shapes(program.learner, config):
        fields = "; ".join(f"{f}: trained {a!r}, here {b!r}" for f, a, b in changed)
        raise ConfigError(f"the trained parameters have other shapes than this config's: {fields}")
    step, params = trained_parameters(trained, workdir)
    summaries = evaluate_parameters(program, [config], params, RandomStream.TEST)
    assert summaries is not None  # nothing stops it
    report = {"step": step, "changed": {field: here for field, _, here in changed}}
    report |= averaged(Seeds(trained), summaries)  # by the seeds of training
    target = free_name(workdir.path, f"evaluation-{step}")
    if hosts.primary():
        write_json(target, report)
    return report, program.learner.task.main_metric, target


def _changed(trained: ConfigDict, config: ConfigDict) -> list[tuple[str, Any, Any]]:
    """The fields in which they differ, but for the devices, which change no result."""
    both = differences(trained.to_dict(), config.to_dict())
    return [change for change in both if not change[0].startswith("mesh.")]


def may_change(field: str) -> bool:
    """Whether a trained network can be evaluated under another value of this field."""
    return field in FREE_FIELDS or field.split(".")[0] in FREE_SECTIONS


def trained_parameters(config: ConfigDict, workdir: Workdir) -> tuple[int, Parameters]:
    """The newest checkpoint of a run: its step and its parameters."""
    state = trained_state(config, workdir)
    return int(np.max(state.step)), state.params


def trained_state(config: ConfigDict, workdir: Workdir, step: int | None = None) -> TrainState:
    """The newest checkpoint of a run, or that of a step, on the first device of this process.

    Raises:
      WorkdirError: there is none.
    """
    if not workdir.saved_steps():
        raise WorkdirError(f"--workdir={workdir.path} holds no checkpoint yet")
    checkpoints = Checkpoints(workdir.checkpoints)
    like = _shapes(build.make_learner(config), config)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    state, _ = checkpoints.restore(like, jax.tree.map(lambda _: here, like), step)
    checkpoints.close()
    return state


def _shapes(learner: Learner, config: ConfigDict) -> TrainState:
    hyper, seeds = build.make_hyperparameters(config, learner.task), Seeds(config)
    return jax.eval_shape(seeds.map(learner.init, 0, None), seeds.array, hyper)
