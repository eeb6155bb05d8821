"""The compiled functions of a run. Runs of equal shapes share them.

Seeds, rates and clips are inputs of the compiled functions. Runs in one process whose configs
differ only in those compile once, and may train at once.
"""

import functools
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.run.seeds import Seeds
from plasticity.learner import Hyperparameters, Learner, RandomStream, TrainState
from plasticity.outer import OPTIMIZERS
from plasticity.rules import RULES
from plasticity.sharding import shardings
from plasticity.target import compiler_options
from plasticity.task import Task
from plasticity.types import Array

# Fields that no compiled function depends on, beside the traced settings of rule and optimizer,
# and their values in the key of the cache.
INPUTS: dict[str, Any] = {
    "seed": 0, "train.learning_rate": 1.0, "train.weight_decay": 0.0, "train.clip": 1.0,
    "evaluate.episodes": 2, "evaluate.every": 0, "checkpoint.every": 1, "checkpoint.keep": 1,
    "log.every": 1, "log.trackers": "", "log.project": "plasticity",
}  # fmt: skip


class Program:
    """A learner and its functions, jitted and mapped over seeds.

    Args:
      config: of a run. runs: how many such runs train at once, each with the config's seeds.

    Attributes:
      learner: of the config, with the values of `INPUTS`.
      init: (seed, hyper) -> state.
      start: (params, hyper) -> state.
      layers: {plastic layer: its shape}, whether the rule writes them or not.
      evaluate: (params, seed, split, index, hyper, on=) -> metrics.
    """

    def __init__(self, config: ConfigDict, runs: int = 1):
        self.learner: Learner = build.make_learner(config)
        self._config = config
        in_turn = self.learner.task.image is not None
        self._seeds = seeds = Seeds(*[config] * runs, in_turn=in_turn)
        self.init = jax.jit(seeds.map(self.learner.init, 0, seeds.hyper))
        self.start = jax.jit(seeds.map(self.learner.start, 0, seeds.hyper))

        def evaluate(*arguments, on):
            own = partial(self.learner.evaluate, on=on)
            return seeds.map(own, 0, 0, None, None, seeds.hyper)(*arguments)

        # Replicated: process 0 writes the metrics and every process uses them.
        mesh = self.learner.layout.mesh(config.evaluate.batch)
        everywhere = NamedSharding(mesh, PartitionSpec())
        self.evaluate = jax.jit(evaluate, static_argnames="on", out_shardings=everywhere)
        hyper = build.make_hyperparameters(config, self.learner.task)
        backbone = self.learner.make_network(hyper).backbone
        self._split, self.layers = backbone.shard_by, backbone.shapes
        self._seeds_axes = {False: len(seeds.numbers) > 1, True: config.train.num_seeds > 1}
        self._compiled: dict[int | None, Any] = {}
        self._end_task: Any = None

    def shardings(self, tree: Any, mesh: Mesh, of_run: bool = False) -> Any:
        """The shardings of parameters, or of a whole state, on a mesh; `of_run`: of one run's."""
        return shardings(tree, mesh, self._split, int(self._seeds_axes[of_run]))

    def learner_at(self, stage: int | None) -> Learner:
        """The learner in a stage of the curriculum, which is named by its value."""
        return build.make_stage(self._config, self.learner, stage)

    def end_task(self, state: TrainState, seed: Array, hyper: Hyperparameters) -> TrainState:
        """`Learner.end_task`; the learner itself does nothing where nothing is protected."""
        if self.learner.protection is None:
            return state
        if self._end_task is None:
            there = jax.tree.map(lambda a: a.sharding, state)
            end_task = self._seeds.map(self.learner.end_task, 0, 0, self._seeds.hyper)
            self._end_task = jax.jit(end_task, out_shardings=there)
        return self._end_task(state, seed, hyper)

    def compiled_step(
        self, state: TrainState, seed: Array, hyper: Hyperparameters, stage: int | None = None
    ) -> Any:
        """The training step (state, seed, hyper) -> (state, metrics), compiled for these shapes."""
        if stage not in self._compiled:
            there = jax.tree.map(lambda a: a.sharding, state)
            one = self.learner_at(stage).train_step
            train_step = self._seeds.map(one, 0, 0, self._seeds.hyper)
            step = jax.jit(train_step, donate_argnums=0, out_shardings=(there, None))
            self._compiled[stage] = step.lower(state, seed, hyper).compile(compiler_options())
        return self._compiled[stage]


def program_for(*configs: ConfigDict) -> Program:
    """The program of a run, or of runs of one shape: that of the call before, if it is the same."""
    return _program(shape_of(configs[0]), len(configs))


def learner_for(config: ConfigDict) -> Learner:
    """A learner of a config, or of another one of its shape, on the devices of this machine."""
    return _learner(shape_of(config))


def shape_of(config: ConfigDict) -> str:
    """A key that is equal for configs that share a program."""
    shared = config.copy_and_resolve_references()
    shared.update_from_flattened_dict(INPUTS)
    shared.rule.update(RULES[config.rule.name].settings.traced())
    shared.consolidation.rate = float(shared.consolidation.rate > 0)  # without, nothing is read
    shared.optimizer.update(OPTIMIZERS[config.optimizer.name].settings.traced())
    return shared.to_json(sort_keys=True)


def companions_of(config: ConfigDict) -> str | None:
    """A key that is equal for configs whose runs may train at once; None: the run trains alone.

    Runs with a curriculum, a stream of tasks or images train alone, and so do those with trackers,
    some of which have one open run per process.

    Raises:
      DataError: images or features of the task are missing or wrong.
    """
    many_tasks = config.task.get("tasks", 1) > 1
    if config.curriculum.field or many_tasks or config.log.trackers:
        return None
    if build.make_task(config).image is not None:
        return None
    evaluate = config.evaluate
    schedule = [evaluate.episodes, evaluate.every, config.checkpoint.every, config.log.every]
    return f"{schedule} {shape_of(config)}"


def inputs_of(
    configs: Sequence[ConfigDict], task: Task, stream: RandomStream = RandomStream.TRAIN
) -> Hyperparameters:
    """The inputs of the program of a run; of several runs, [runs * seeds] each, and the data."""
    own = [build.make_hyperparameters(config, task, stream) for config in configs]
    if len(own) == 1:
        return own[0]
    numbers, seeds = [hyper._replace(data=None) for hyper in own], configs[0].train.num_seeds
    spread = jax.tree.map(lambda *values: np.repeat(np.stack(values), seeds), *numbers)
    return spread._replace(data=own[0].data)


@functools.lru_cache(maxsize=1)
def _learner(key: str) -> Learner:
    return build.make_learner(ConfigDict(json.loads(key)))


@functools.lru_cache(maxsize=1)
def _program(key: str, runs: int) -> Program:
    jax.clear_caches()  # frees the memory of the program before
    return Program(ConfigDict(json.loads(key)), runs)
