"""Checks of the settings of the outer loop, before anything is compiled or written.

All raise ValueError, which names the field, the value and what would be right.
"""

from dataclasses import fields

import jax
import numpy as np
from ml_collections import ConfigDict

from plasticity.configs.training import CurriculumSettings, StreamSettings
from plasticity.experiments import build
from plasticity.outer import OPTIMIZERS
from plasticity.outer.consolidation import check_layers
from plasticity.outer.task_stream import METHODS
from plasticity.registry import nearest
from plasticity.sharding import Layout
from plasticity.task import Task
from plasticity.tasks import TASKS


def check_optimizer(config: ConfigDict) -> None:
    """Weight decay must have a meaning beside the optimizer, and periods a part of the network."""
    name, decay = config.optimizer.name, config.train.weight_decay
    if decay and not OPTIMIZERS[name]().decays:
        raise ValueError(
            f"train.weight_decay={decay} must be 0 for optimizer.name={name!r}, which keeps some "
            "weights as they are: add --config.train.weight_decay=0"
        )
    if config.optimizer.periods:  # whose parts are names of parameters
        learner = build.make_learner(config)
        hyper = build.make_hyperparameters(config, learner.task)
        jax.eval_shape(learner.init, np.uint32(0), hyper)


def check_consolidation(config: ConfigDict) -> None:
    """Fast weights must have slow weights of their shape, into which they flow."""
    rate = config.consolidation.rate
    if not rate:
        return
    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    params = jax.eval_shape(learner.init, np.uint32(0), hyper).params
    try:
        check_layers(params.slow, learner.make_network(hyper).layers)
    except ValueError as error:
        raise ValueError(
            f"consolidation.rate={rate} must be 0 for rule.name={config.rule.name!r} and "
            f"model.name={config.model.name!r}: {error}"
        ) from error


def check_curriculum(config: ConfigDict, task: Task) -> None:
    """Each stage must be a task for the same network, and no longer than the whole task."""
    curriculum = build.read(config, CurriculumSettings)
    if not curriculum.field:
        return
    where = f"curriculum.field={curriculum.field!r}"
    settings = TASKS[config.task.name].settings
    known = {f.name for f in fields(settings) if type(f.default) is int}
    if curriculum.field not in known:
        hint = nearest(curriculum.field, sorted(known))
        raise ValueError(f"{where} is not an integer setting of {config.task.name!r}: {hint}")
    learner = build.make_learner(config)
    for value in (*curriculum.parsed, config.task[curriculum.field]):
        stage = build.make_stage(config, learner, value).task
        metrics = stage.metric_names if curriculum.names else []  # they are traced
        if missing := [name for name in curriculum.names if name not in metrics]:
            raise ValueError(
                f"curriculum.metrics={curriculum.metrics!r}: {missing[0]!r} is no metric under "
                f"task.{curriculum.field}={value}: {nearest(missing[0], metrics)}"
            )
        same = (stage.inputs, stage.outputs, stage.image) == (task.inputs, task.outputs, task.image)
        if not same or stage.steps > task.steps:
            raise ValueError(
                f"curriculum.stages={curriculum.stages!r}: under task.{curriculum.field}={value} "
                f"the task has {stage.inputs} inputs, {stage.outputs} outputs and {stage.steps} "
                f"steps; it must have {task.inputs}, {task.outputs} and at most {task.steps}"
            )


def check_stream(config: ConfigDict, task: Task) -> None:
    """A stream's parts must be whole, and its settings need one."""
    stream, tasks, train = build.read(config, StreamSettings), task.tasks, config.train
    if tasks == 1:
        if stream != StreamSettings():
            changed = next(f.name for f in fields(stream) if getattr(stream, f.name) != f.default)
            raise ValueError(
                f"stream.{changed}={getattr(stream, changed)!r} needs a stream: task.tasks above 1"
            )
        return
    wrong = {}
    if train.steps % tasks:
        wrong[f"train.steps={train.steps}"] = f"a multiple of task.tasks={tasks}"
    if config.evaluate.episodes < 2 * tasks:
        wrong[f"evaluate.episodes={config.evaluate.episodes}"] = f"two a task: {2 * tasks}"
    if METHODS[stream.method].replays and not 0 < round(stream.share * train.batch) < train.batch:
        wrong[f"stream.share={stream.share}"] = f"an episode or more of train.batch={train.batch}"
    if config.curriculum.field:
        wrong[f"curriculum.field={config.curriculum.field!r}"] = "empty in a stream"
    if train.steps // tasks % stream.repetitions:
        wrong[f"stream.repetitions={stream.repetitions}"] = (
            f"a divisor of the {train.steps // tasks} updates of a task"
        )
    if stream.spacing == "spaced" and tasks < 3:
        wrong[f"task.tasks={tasks}"] = "3 or more for stream.spacing='spaced': the last one waits"
    for what, right in wrong.items():
        raise ValueError(f"{what} must be {right}")


def check_fisher(config: ConfigDict, task: Task) -> None:
    """Devices must divide the episodes of the Fisher information of a stream's tasks."""
    if task.tasks > 1:
        episodes = build.read(config, StreamSettings).fisher_episodes
        build.read(config, Layout).mesh(episodes)
