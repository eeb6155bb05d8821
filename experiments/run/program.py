"""The compiled functions of a run. Runs of equal shapes share them.

Seeds, rates and clips are inputs of the compiled functions. Runs in one process whose configs
differ only in those compile once.
"""

import functools
import json
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.run.seeds import Seeds
from plasticity.learner import Hyperparameters, Learner, TrainState
from plasticity.outer import OPTIMIZERS
from plasticity.rules import RULES
from plasticity.sharding import shardings
from plasticity.target import compiler_options
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

    Attributes:
      learner: of the config, with the values of `INPUTS`.
      init: (seed, hyper) -> state.
      start: (params, hyper) -> state.
      layers: {plastic layer: its shape}, whether the rule writes them or not.
      evaluate: (params, seed, split, index, hyper, on=) -> metrics.
    """

    def __init__(self, config: ConfigDict):
        self.learner: Learner = build.make_learner(config)
        self._config = config
        self._seeds = seeds = Seeds(config, in_turn=self.learner.task.image is not None)
        self.init = jax.jit(seeds.map(self.learner.init, True, False))
        self.start = jax.jit(seeds.map(self.learner.start, True, False))

        def evaluate(*arguments, on):
            own = partial(self.learner.evaluate, on=on)
            return seeds.map(own, True, True, False, False, False)(*arguments)

        # Replicated: process 0 writes the metrics and every process uses them.
        mesh = self.learner.layout.mesh(config.evaluate.batch)
        everywhere = NamedSharding(mesh, PartitionSpec())
        self.evaluate = jax.jit(evaluate, static_argnames="on", out_shardings=everywhere)
        hyper = build.make_hyperparameters(config, self.learner.task)
        backbone = self.learner.make_network(hyper).backbone
        self._split, self.layers = backbone.shard_by, backbone.shapes
        self._lead = int(len(seeds.numbers) > 1)
        self._compiled: dict[int | None, Any] = {}
        self._end_task: Any = None

    def shardings(self, tree: Any, mesh: Mesh) -> Any:
        """The shardings of parameters, or of a whole state, on a mesh."""
        return shardings(tree, mesh, self._split, self._lead)

    def learner_at(self, stage: int | None) -> Learner:
        """The learner in a stage of the curriculum, which is named by its value."""
        return build.make_stage(self._config, self.learner, stage)

    def end_task(self, state: TrainState, seed: Array, hyper: Hyperparameters) -> TrainState:
        """`Learner.end_task`; the learner itself does nothing where nothing is protected."""
        if self.learner.protection is None:
            return state
        if self._end_task is None:
            there = jax.tree.map(lambda a: a.sharding, state)
            end_task = self._seeds.map(self.learner.end_task, True, True, False)
            self._end_task = jax.jit(end_task, out_shardings=there)
        return self._end_task(state, seed, hyper)

    def compiled_step(
        self, state: TrainState, seed: Array, hyper: Hyperparameters, stage: int | None = None
    ) -> Any:
        """The training step (state, seed, hyper) -> (state, metrics), compiled for these shapes."""
        if stage not in self._compiled:
            there = jax.tree.map(lambda a: a.sharding, state)
            train_step = self._seeds.map(self.learner_at(stage).train_step, True, True, False)
            step = jax.jit(train_step, donate_argnums=0, out_shardings=(there, None))
            self._compiled[stage] = step.lower(state, seed, hyper).compile(compiler_options())
        return self._compiled[stage]


def program_for(config: ConfigDict) -> Program:
    """The program of a config: that of the call before, if its shapes are the same."""
    return _program(shape_of(config))


def shape_of(config: ConfigDict) -> str:
    """A key that is equal for configs that share a program."""
    shared = config.copy_and_resolve_references()
    shared.update_from_flattened_dict(INPUTS)
    shared.rule.update(RULES[config.rule.name].settings.traced())
    shared.consolidation.rate = float(shared.consolidation.rate > 0)  # without, nothing is read
    shared.optimizer.update(OPTIMIZERS[config.optimizer.name].settings.traced())
    return shared.to_json(sort_keys=True)


@functools.lru_cache(maxsize=1)
def _program(key: str) -> Program:
    jax.clear_caches()  # frees the memory of the program before
    return Program(ConfigDict(json.loads(key)))
