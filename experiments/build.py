"""From a config to the library's records: the only reader of `rule`, `memory`, `model`, `task`."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from configs.base import AUTO
from plasticity.learner import Hyperparameters, Learner, RandomStream
from plasticity.memory import ENGINES, choose, chunk_for
from plasticity.model import BACKBONES, EncoderSettings
from plasticity.network import Network
from plasticity.rules import RULES, RuleSettings
from plasticity.sharding import Layout
from plasticity.tasks import TASKS
from plasticity.types import LayerShape, Task


def without(section: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The fields of a config section but for `names`."""
    return {key: value for key, value in section.items() if key not in names}


def make_task(config: ConfigDict) -> Task:
    """The task of `config.task`. The last two are kept: their data are loaded once."""
    data = os.environ.get("PLASTICITY_DATA_DIR")
    return _task(data, config.task.name, **without(config.task, "name"))


@functools.lru_cache(maxsize=2)
def _task(data: str | None, name: str, **fields: Any) -> Task:
    del data  # where the task's data lie, a part of the key
    return TASKS[name](**fields)


def rule_settings(config: ConfigDict) -> RuleSettings:
    """The settings of `config.rule`."""
    return RuleSettings(**without(config.rule, "name", "meta_gradient"))


# Splits of the task's data, by what they are for.
SPLITS = {
    RandomStream.TRAIN: "train",
    RandomStream.VALIDATION: "validation",
    RandomStream.TEST: "test",
}


def make_hyperparameters(
    config: ConfigDict, task: Task, stream: RandomStream = RandomStream.TRAIN
) -> Hyperparameters:
    """The inputs of the compiled program: continuous hyper-parameters, and the task's data."""
    numbers = {
        "eta0": config.rule.eta0,
        "max_norm": config.rule.max_norm,
        "learning_rate": config.train.learning_rate,
        "weight_decay": config.train.weight_decay,
        "clip": config.train.clip,
    }
    data = None if task.data is None else task.data[SPLITS[stream]]
    return Hyperparameters(
        **{name: np.float32(value) for name, value in numbers.items()}, data=data
    )


def choose_memory(config: ConfigDict, shapes: Iterable[LayerShape], steps: int) -> tuple[str, int]:
    """The engine's name and its chunk: as configured, or by the cost model."""
    engine, chunk = config.memory.engine, config.memory.chunk
    if engine == AUTO:
        engine, chosen, _ = choose(
            shapes,
            steps,
            per_synapse=config.rule.alpha == "per_synapse",
            platform=jax.default_backend(),
        )
    else:
        chosen = chunk_for(engine, shapes, steps)
    return engine, chosen if chunk < 0 else chunk


def make_layout(config: ConfigDict) -> Layout:
    """How a run is spread over devices."""
    return Layout(**config.mesh)


def make_learner(config: ConfigDict) -> Learner:
    """The learner of a validated config."""
    task = make_task(config)
    make_backbone, settings = BACKBONES[config.model.name]
    model = settings(**without(config.model, "name", "matmul_precision"))
    backbone = make_backbone(model, EncoderSettings(**config.encoder), task.shape)
    static_settings = rule_settings(config)
    engine, chunk = choose_memory(config, backbone.shapes.values(), task.steps)
    memory = ENGINES[engine](chunk)

    def make_network(hyper: Hyperparameters) -> Network:
        rule = RULES[config.rule.name](
            dataclasses.replace(static_settings, eta0=hyper.eta0, max_norm=hyper.max_norm)
        )
        return Network(
            backbone=backbone,
            rule=rule,
            memory=memory,
            meta_gradient=config.rule.meta_gradient,
            matmul_precision=config.model.matmul_precision,
        )

    return Learner(
        task=task,
        make_network=make_network,
        batch=config.train.batch,
        steps=config.train.steps,
        warmup=config.train.warmup,
        schedule=config.train.schedule,
        microbatch=config.train.microbatch,
        layout=make_layout(config),
    )
