"""From a config to the library's records: the only reader of `rule`, `memory`, `model`, `task`."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from plasticity.episode import Network
from plasticity.learner import Knobs, Learner
from plasticity.memory import ENGINES
from plasticity.model import BACKBONES
from plasticity.rules import RULES, RuleSettings
from plasticity.tasks import TASKS
from plasticity.types import Task

LONG_EPISODE = 64  # steps


def without(section: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The fields of a config section but for `names`."""
    return {key: value for key, value in section.items() if key not in names}


def make_task(config: ConfigDict) -> Task:
    """The task of `config.task`."""
    return TASKS[config.task.name](**without(config.task, "name"))


def rule_settings(config: ConfigDict) -> RuleSettings:
    """The settings of `config.rule`."""
    return RuleSettings(**without(config.rule, "name", "meta_gradient"))


def make_knobs(config: ConfigDict) -> Knobs:
    """The continuous hyper-parameters, which are inputs of the compiled program."""
    return Knobs(
        eta0=config.rule.eta0,
        max_norm=config.rule.max_norm,
        learning_rate=config.train.learning_rate,
        weight_decay=config.train.weight_decay,
        clip=config.train.clip,
    )


def chunk_length(config: ConfigDict, steps: int) -> int:
    """Steps per chunk of the memory for episodes of `steps` steps; 0: one chunk."""
    if config.memory.chunk >= 0:
        return config.memory.chunk
    return math.ceil(math.sqrt(steps)) if steps > LONG_EPISODE else 0


def make_learner(config: ConfigDict) -> Learner:
    """The learner of a validated config."""
    task = make_task(config)
    make_backbone, settings = BACKBONES[config.model.name]
    backbone = make_backbone(
        settings(**without(config.model, "name")),
        inputs=task.inputs,
        outputs=task.outputs,
        steps=task.steps,
    )
    static_settings = rule_settings(config)

    def make_network(knobs: Knobs) -> Network:
        rule = RULES[config.rule.name](
            dataclasses.replace(static_settings, eta0=knobs.eta0, max_norm=knobs.max_norm)
        )
        return Network(
            backbone=backbone,
            rule=rule,
            memory=ENGINES[config.memory.engine](chunk_length(config, task.steps)),
            meta_gradient=config.rule.meta_gradient,
        )

    return Learner(
        task=task,
        make_network=make_network,
        batch=config.train.batch,
        steps=config.train.steps,
        warmup=config.train.warmup,
        schedule=config.train.schedule,
    )
