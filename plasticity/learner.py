"""The outer loop: slow weights and plasticity parameters, trained across episodes.

Everything random is a pure function of (seed, stream, step, index), so that a resumed run equals
one that never stopped and seeds are paired across rules.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.evaluation import evaluate_episodes
from plasticity.network import Network, Parameters, init_parameters
from plasticity.outer import adamw
from plasticity.outer.ewc import Protection, after_task, protected
from plasticity.outer.optimizer import Optimizer, chained, relative_rate
from plasticity.outer.refresh import Refresh, with_refresh
from plasticity.outer.task_stream import TaskStream
from plasticity.randomness import RandomStream as RandomStream
from plasticity.randomness import fold_many, stream_key
from plasticity.registry import exportable
from plasticity.rules import none
from plasticity.sharding import (
    Layout,
    constrain_to_layout,
    mean_over_devices,
    mean_over_parts,
    split_over_devices,
)
from plasticity.task import Episode, Task
from plasticity.telemetry import fast_norm, plasticity_gradients
from plasticity.types import Array, PyTree, Scalar


class Hyperparameters(NamedTuple):
    """Inputs of the compiled programs: a change of their values does not recompile."""

    rule: Mapping[str, Scalar]  # the `traced` settings of the rule
    learning_rate: Scalar
    weight_decay: Scalar
    clip: Scalar  # of the outer gradient's global norm
    data: PyTree = None  # `Task.data` of the present split
    optimizer: Mapping[str, Scalar] = {}  # the `traced` settings of the optimizer


class TrainState(NamedTuple):
    """The state of training between two steps."""

    step: Array  # [] int32, updates done
    params: Parameters
    optimizer: PyTree


exportable(Hyperparameters, TrainState)


@dataclasses.dataclass(frozen=True)
class Learner:
    """Pure functions that train and evaluate one network on one task; all may be jitted.

    Attributes:
      task: the distribution of episodes, their loss and metrics.
      make_network: hyper -> Network; called while tracing.
      batch: B, episodes per step.
      microbatch: how many of them a device differentiates at once, at most; 0: all of its share.
      steps, warmup, schedule: linear warm-up to the learning rate over `warmup` steps, then
        "constant", or "cosine" down to zero at `steps`.
      eta0_warmup: steps in which the rule's eta0, if it has one, rises linearly to its value.
      layout: how a batch is spread over devices.
      make_optimizer: hyper -> Optimizer. refresh: of the weights before every step, if any.
      stream: the order of its tasks, of a task that has several. protection: of what mattered to
        earlier ones, if any.
    """

    task: Task
    make_network: Callable[[Hyperparameters], Network]
    batch: int
    steps: int
    warmup: int
    schedule: str
    microbatch: int = 0
    eta0_warmup: int = 0
    layout: Layout = dataclasses.field(default_factory=Layout)
    make_optimizer: Callable[[Hyperparameters], Optimizer] = lambda hyper: adamw()
    refresh: Refresh | None = None
    stream: TaskStream | None = None
    protection: Protection | None = None

    def init(self, seed: Array, hyper: Hyperparameters) -> TrainState:
        """The state before the first step."""
        params = init_parameters(self.make_network(hyper), stream_key(seed, RandomStream.INIT))
        return self.start(params, hyper)

    def start(self, params: Parameters, hyper: Hyperparameters) -> TrainState:
        """The state before the first step, with these parameters."""
        return TrainState(jnp.zeros((), jnp.int32), params, self._optimizer(hyper).init(params))

    def loss(
        self, params: Parameters, seed: Array, step: Array, index: Array, hyper: Hyperparameters
    ) -> tuple[Array, dict[str, Array]]:
        """What is minimised, [], for training episodes [B] of a step, and their mean metrics.

        It is their mean outer loss, and the auxiliary loss of the rule and the local loss of the
        network, if they have any (metric "auxiliary").
        """
        network = self.make_network(hyper)
        episodes = self.episodes(seed, RandomStream.TRAIN, step, index, hyper.data)
        keys = fold_many(stream_key(seed, RandomStream.DROPOUT, step), index)
        metrics, trace = evaluate_episodes(network, self.task.trained_on, params, episodes, keys)
        added = [] if trace.auxiliary is None else [trace.auxiliary.mean(1)]
        if local := network.backbone.local_loss:
            added.append(jax.vmap(partial(local, params.slow))(episodes))
        if added:
            metrics["auxiliary"] = sum(added[1:], added[0])
        metrics = jax.tree.map(jnp.mean, metrics)
        return metrics["loss"] + metrics.get("auxiliary", 0.0), metrics

    def gradient(
        self, params: Parameters, seed: Array, step: Array, hyper: Hyperparameters
    ) -> tuple[dict[str, Array], Parameters]:
        """Mean metrics of the training episodes of a step, the loss among them, and its gradient.

        Over devices and in microbatches, as configured.
        """

        def share(index: Array, *args: PyTree) -> tuple[dict[str, Array], Parameters]:
            params, seed, step, hyper = args
            grad = jax.value_and_grad(self.loss, has_aux=True)
            (_, metrics), grads = grad(params, seed, step, index, hyper)
            return metrics, grads

        in_parts = mean_over_parts(share, self.microbatch)
        shared = mean_over_devices(in_parts, self.layout.mesh(self.batch))
        return shared(jnp.arange(self.batch), params, seed, step, hyper)

    def train_step(
        self, state: TrainState, seed: Array, hyper: Hyperparameters
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update. If loss or gradient is not finite, the state comes back as it was."""
        hyper = self._warmed_up(hyper, state.step)
        network = self.make_network(hyper)
        params, (metrics, grads) = with_refresh(
            lambda params: self.gradient(params, seed, state.step, hyper),
            state.params,
            stream_key(seed, RandomStream.REFRESH, state.step),
            self.refresh,
            state.optimizer.fisher if self.protection else None,
        )
        grads = constrain_to_layout(grads, self.layout.mesh(self.batch), network.backbone.shard_by)
        metrics["grad_norm"] = optax.tree.norm(grads)
        metrics |= plasticity_gradients(network, grads)
        updates, optimizer = self._optimizer(hyper).update(grads, state.optimizer, params)
        updated = TrainState(state.step + 1, optax.apply_updates(params, updates), optimizer)
        good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), updated, state), metrics

    def end_task(self, state: TrainState, seed: Array, hyper: Hyperparameters) -> TrainState:
        """The state once the task of the last update is over: `protection` remembers it."""
        assert self.protection is not None
        hyper = self._warmed_up(hyper, state.step)

        def share(index: Array, *args: PyTree) -> Parameters:
            grads, _ = jax.grad(self.loss, has_aux=True)(args[0], *args[1:3], index, args[3])
            return jax.tree.map(jnp.square, grads)

        episodes = self.protection.episodes
        mean = mean_over_devices(mean_over_parts(share, 1), self.layout.mesh(episodes))
        fisher = mean(jnp.arange(episodes), state.params, seed, state.step - 1, hyper)
        kept = after_task(state.optimizer, state.params, fisher, self.protection)
        return state._replace(optimizer=kept)

    def forward(self, params: Parameters, seed: Array, hyper: Hyperparameters) -> Array:
        """The loss [] of the first training batch, without a gradient."""

        def share(index: Array, *args: PyTree) -> Array:
            params, seed, hyper = args
            return self.loss(params, seed, jnp.zeros((), jnp.int32), index, hyper)[0]

        shared = mean_over_devices(share, self.layout.mesh(self.batch))
        return shared(jnp.arange(self.batch), params, seed, hyper)

    def evaluate(
        self,
        params: Parameters,
        seed: Array,
        split: Array | int,
        index: Array,
        hyper: Hyperparameters,
        on: bool,
    ) -> dict[str, Array]:
        """Metrics [B] of the fixed episodes with indices [B] of a split, which is a `RandomStream`.

        `on=False` holds the fast weights at zero, and memories as an episode starts: the same net
        on the same episodes, not plastic.
        """

        def run(index: Array, *args: PyTree) -> dict[str, Array]:
            params, seed, split, hyper = args
            network = self.make_network(hyper)
            if not on:
                network = network._replace(rule=none(), site_writes=False)
            start = jnp.zeros((), jnp.int32)
            episodes = self.episodes(seed, split, start, index, hyper.data)
            metrics, trace = evaluate_episodes(network, self.task, params, episodes, None)
            return metrics | {"fast_norm": fast_norm(network, params, trace)}

        split_up = split_over_devices(run, self.layout.mesh(len(index)))
        return split_up(index, params, seed, jnp.asarray(split), hyper)

    def episodes(
        self, seed: Array, split: Array | int, step: Array, index: Array, data: PyTree = None
    ) -> Episode:
        """Episodes [B] with indices [B]: a pure function of all arguments."""
        # A traced split, as in `evaluate`, is never that of training.
        training = split is RandomStream.TRAIN
        task = self.task.trained_on if training else self.task
        if self.stream is None:
            keys = fold_many(stream_key(seed, split, step), index)
            return jax.vmap(task.sample, (0, None))(keys, data)
        stream = self.stream
        drawn = stream.training(seed, step, index) if training else stream.evaluation(index)
        first = jax.vmap(stream_key, (None, None, 0))(seed, split, drawn.step)
        keys = jax.vmap(jax.random.fold_in)(first, drawn.place)
        return jax.vmap(task.sample, (0, None, 0))(keys, data, drawn.which)

    def _warmed_up(self, hyper: Hyperparameters, step: Array) -> Hyperparameters:
        """The hyperparameters at a step: eta0 grows by 1 / eta0_warmup of its value at each."""
        if not self.eta0_warmup or "eta0" not in hyper.rule:
            return hyper
        eta0 = hyper.rule["eta0"] * jnp.minimum(1.0, (step + 1) / self.eta0_warmup)
        return hyper._replace(rule={**hyper.rule, "eta0": eta0})

    def _optimizer(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        shape = relative_rate(self.schedule, self.steps, self.warmup)
        whole = chained(
            self.make_optimizer(hyper),
            lambda count: hyper.learning_rate * shape(count),
            hyper.weight_decay,
            hyper.clip,
            _slow,
        )
        return protected(whole, self.protection) if self.protection else whole


def _slow(params: Parameters) -> Parameters:
    """Weight decay applies to slow weights only: alpha -> 0 would remove the plasticity."""
    return Parameters(
        jax.tree.map(lambda _: True, params.slow), jax.tree.map(lambda _: False, params.plasticity)
    )
