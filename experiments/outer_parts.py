"""From a config to the parts of the outer loop: optimizer, stream, refresh, consolidation."""

import dataclasses
from typing import TypeVar

from ml_collections import ConfigDict

from plasticity.configs.base import OptimizerChoice
from plasticity.configs.training import ConsolidationSettings, StreamSettings
from plasticity.learner import Hyperparameters
from plasticity.outer import OPTIMIZERS
from plasticity.outer.consolidation import Consolidation
from plasticity.outer.ewc import Protection
from plasticity.outer.optimizer import Optimizer
from plasticity.outer.periods import parsed
from plasticity.outer.refresh import Refresh
from plasticity.outer.task_stream import METHODS, TaskStream
from plasticity.settings import Settings
from plasticity.task import Task

S = TypeVar("S", bound=Settings)


def read(config: ConfigDict, kind: type[S]) -> S:
    """The settings of a config that a dataclass declares.

    Raises:
      ValueError: one is not valid; the message names its field.
    """
    fields = config[kind.section] if kind.section else config
    return kind(**{field.name: fields[field.name] for field in dataclasses.fields(kind)})


def make_optimizer(config: ConfigDict, hyper: Hyperparameters) -> Optimizer:
    """The optimizer of `config.optimizer`, with the values of its traced settings in `hyper`."""
    factory, choice = OPTIMIZERS[config.optimizer.name], read(config, OptimizerChoice)
    settings = dataclasses.replace(read(config, factory.settings), **hyper.optimizer)
    selects = choice.best or choice.condition
    best = (choice.best, choice.condition) if selects else None
    return factory.make(settings)._replace(best=best, periods=parsed(choice.periods))


def make_stream(config: ConfigDict, task: Task) -> tuple[TaskStream | None, Protection | None]:
    """How the tasks of a stream follow each other, and what is protected of earlier ones."""
    settings, batch = read(config, StreamSettings), config.train.batch
    method = METHODS[settings.method]
    if task.tasks == 1:
        return None, None
    stream = TaskStream(
        tasks=task.tasks,
        steps=config.train.steps // task.tasks,
        batch=batch,
        replayed=round(settings.share * batch) if method.replays else 0,
        told=settings.boundaries == "told",
        joint=method.joint,
        repetitions=settings.repetitions,
        spaced=settings.spacing == "spaced",
    )
    if not method.protects:
        return stream, None
    held = (settings.strength, settings.decay, method.online, settings.fisher_episodes)
    return stream, Protection(*held)


def make_refresh(config: ConfigDict) -> Refresh | None:
    """The refresh of the weights before every step, if there is any."""
    choice = read(config, OptimizerChoice)
    if not choice.refresh:
        return None
    return Refresh(choice.refresh, choice.refresh_noise, random=choice.refresh_along == "random")


def make_consolidation(config: ConfigDict) -> Consolidation | None:
    """The flow of fast weights into slow ones after every step, if there is any."""
    settings = read(config, ConsolidationSettings)
    return Consolidation(settings.what == "shuffled") if settings.rate else None
