"""From a config to the library's objects: the only reader of `rule`, `memory`, `model`, `task`."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterable

import numpy as np
from ml_collections import ConfigDict

from plasticity import target
from plasticity.configs.base import AUTO
from plasticity.configs.training import CurriculumSettings
from plasticity.experiments.outer_parts import (
    make_consolidation,
    make_optimizer,
    make_refresh,
    make_stream,
)
from plasticity.experiments.outer_parts import read as read
from plasticity.factory import Factory
from plasticity.learner import Hyperparameters, Learner, RandomStream
from plasticity.memory import ENGINES, choose, chunk_for
from plasticity.model import BACKBONES, EncoderSettings, MemoryLayerSettings, MemorySpec
from plasticity.model.block import check_memory
from plasticity.network import Network
from plasticity.outer import OPTIMIZERS
from plasticity.registry import lookup
from plasticity.rules import RULES, none
from plasticity.settings import Settings
from plasticity.sharding import DATA, Layout
from plasticity.task import Task
from plasticity.task_checks import check_task
from plasticity.tasks import TASKS
from plasticity.types import LayerShape, Memory, Rule

DATA_FOLDER = "PLASTICITY_DATA_DIR"  # the environment variable


def make_task(config: ConfigDict) -> Task:
    """The task of `config.task`. The last two are kept, so that a launch loads its data once."""
    factory = TASKS[config.task.name]
    return _make_task(factory, read(config, factory.settings), os.environ.get(DATA_FOLDER))


@functools.lru_cache(maxsize=2)
def _make_task(factory: Factory[Task], settings: Settings, data_folder: str | None) -> Task:
    del data_folder  # a part of the key: the task depends on what lies there
    task = factory.make(settings)
    check_task(task)
    return task


def make_stage(config: ConfigDict, learner: Learner, value: int | None) -> Learner:
    """The learner of a stage of the curriculum: the same network, on the task of that stage.

    Args:
      value: of the task's growing setting; None: its own.
    """
    factory, field = TASKS[config.task.name], read(config, CurriculumSettings).field
    if value is None or config.task[field] == value:
        return learner
    grown = {field: value}
    settings = dataclasses.replace(read(config, factory.settings), **grown)
    return dataclasses.replace(learner, task=factory.make(settings))


def make_hyperparameters(
    config: ConfigDict, task: Task, stream: RandomStream = RandomStream.TRAIN
) -> Hyperparameters:
    """The inputs of the compiled program: continuous hyperparameters, float32, and the task's data.

    Args:
      config: one that `plasticity.experiments.validate.validate` accepts.
      task: of the learner.
      stream: whose data they are: TRAIN, VALIDATION or TEST.
    """
    traced = RULES[config.rule.name].settings.traced()
    return Hyperparameters(
        rule={name: np.float32(config.rule[name]) for name in traced},
        learning_rate=np.float32(config.train.learning_rate),
        weight_decay=np.float32(config.train.weight_decay),
        clip=np.float32(config.train.clip),
        optimizer={
            name: np.float32(config.optimizer[name])
            for name in OPTIMIZERS[config.optimizer.name].settings.traced()
        },
        consolidation=np.float32(config.consolidation.rate),
        data=None if task.data is None else task.data[stream.name.lower()],
    )


def choose_memory(config: ConfigDict, shapes: Iterable[LayerShape], steps: int) -> tuple[str, int]:
    """The engine's name and its chunk: from the config, or by the cost model."""
    engine, chunk = config.memory.engine, config.memory.chunk
    per_synapse = config.rule.get("alpha", "per_synapse") == "per_synapse"
    if engine == AUTO:
        mesh = read(config, Layout).mesh(config.train.batch)
        share = config.train.batch // mesh.shape[DATA]
        engine, chunk, _ = choose(
            shapes,
            steps,
            per_synapse=per_synapse,
            platform=target.platform(),
            episodes=min(config.train.microbatch or share, share),
        )
    return engine, chunk_for(engine, shapes, steps, per_synapse) if chunk < 0 else chunk


def writes_nothing(rule: str, mixer: str, site_rule: str, levels: str) -> bool:
    """Whether no plastic layer, memory layer or level is written; a rule unknown here writes."""
    names = {rule} if mixer == "attention" else {rule, site_rule or rule}
    return not levels and all(name in RULES and RULES[name]().static for name in names)


def is_static(config: ConfigDict) -> bool:
    """`writes_nothing`, of a config."""
    mixer = config.model.get("mixer", "attention")
    levels = config.model.get("levels", "")
    return writes_nothing(config.rule.name, mixer, config.site.rule, levels)


def writes_layers(config: ConfigDict) -> bool:
    """Whether plastic layers are written; a network may have memory layers only."""
    return config.model.get("plastic") != "none" and not RULES[config.rule.name]().static


def site_engine(rule: Rule, engine: str, chunk: int) -> Memory:
    """The engine that holds the memories of sites: that of the plastic layers, if it can.

    A memory that does not start empty, and a form that only a matrix expresses, are held densely.
    """
    assert rule.site is not None
    if rule.site.empty:
        with contextlib.suppress(ValueError):
            return ENGINES[engine](chunk, rule.form)
    return ENGINES["dense"](0, rule.form)


def make_memory(config: ConfigDict) -> MemorySpec | None:
    """The memory layers of a network; None: it has none.

    Raises:
      ValueError: the rule has no meaning at a memory site, or sizes do not go together.
    """
    if config.model.get("mixer", "attention") == "attention":
        return None
    settings = read(config, MemoryLayerSettings)
    name = settings.rule or config.rule.name
    factory = lookup(RULES, name, "site.rule")
    same = name == config.rule.name
    rule = factory.make(read(config, factory.settings)) if same else factory()
    if rule.site is None:
        raise ValueError(
            f"model.mixer={config.model.mixer!r}: the rule {name!r} has no meaning at memory "
            "sites; site.rule may name another one than rule.name"
        )
    memory = MemorySpec(rule, settings, config.model.width)
    check_memory(read(config, BACKBONES[config.model.name].settings), memory)
    return memory


def make_learner(config: ConfigDict) -> Learner:
    """The learner of a config.

    Args:
      config: one that `plasticity.experiments.validate.validate` accepts.

    Raises:
      ValueError: parts of the config do not go together.
      DataError: images or features of the task are missing or wrong.
    """
    task = make_task(config)
    model, rule = BACKBONES[config.model.name], RULES[config.rule.name]
    encoder = read(config, EncoderSettings)
    sites = make_memory(config)
    memory = () if sites is None else (sites,)
    backbone = model.make(read(config, model.settings), encoder, task.shape, *memory)
    settings = read(config, rule.settings)
    stream, protection = make_stream(config, task)
    engine, chunk = choose_memory(config, backbone.shapes.values(), task.trained_on.steps)

    def make_network(hyper: Hyperparameters) -> Network:
        made = rule.make(dataclasses.replace(settings, **hyper.rule))
        made = made if backbone.shapes else none()
        network = Network(
            backbone=backbone,
            rule=made,
            memory=ENGINES[engine](chunk, made.form),
            meta_gradient=config.rule.meta_gradient,
            matmul_precision=config.model.matmul_precision,
        )
        if sites is None:
            return network
        return network._replace(
            site_rule=sites.rule,
            # Without writes of plastic layers, memories take all steps at once: their states are
            # matrices.
            site_memory=site_engine(sites.rule, "dense" if made.static else engine, chunk),
            site_chunk=sites.settings.chunk,
        )

    return Learner(
        task=task,
        make_network=make_network,
        batch=config.train.batch,
        steps=config.train.steps,
        warmup=config.train.warmup,
        schedule=config.train.schedule,
        eta0_warmup=config.train.eta0_warmup,
        microbatch=config.train.microbatch,
        layout=read(config, Layout),
        make_optimizer=functools.partial(make_optimizer, config),
        refresh=make_refresh(config),
        stream=stream,
        protection=protection,
        consolidation=make_consolidation(config),
    )
