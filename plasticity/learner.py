"""The outer loop: slow weights and plasticity parameters, trained across episodes.

Everything random is a pure function of (seed, stream, step, index), so that a resumed run equals
one that never stopped and seeds are paired across rules.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.network import EpisodeTrace, Network, Parameters, init_parameters
from plasticity.outer import adamw
from plasticity.outer.optimizer import Optimizer, chained, relative_rate
from plasticity.outer.refresh import Refresh, with_refresh
from plasticity.registry import exportable
from plasticity.rules import none
from plasticity.sharding import (
    Layout,
    constrain_to_layout,
    mean_over_devices,
    mean_over_parts,
    split_over_devices,
)
from plasticity.task import Episode, Task, without_unused_nans
from plasticity.telemetry import fast_norm, plasticity_gradients, telemetry
from plasticity.types import Array, Key, PyTree, Scalar
from plasticity.unroll import run_episodes


class RandomStream(enum.IntEnum):
    """Streams of randomness. Their numbers are part of every result: never renumber."""

    INIT = 0
    TRAIN = 1
    DROPOUT = 2
    VALIDATION = 3
    TEST = 4
    REFRESH = 5


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
        """Mean outer loss [] of training episodes [B] of a step, and their mean metrics."""
        network = self.make_network(hyper)
        episodes = self.episodes(seed, RandomStream.TRAIN, step, index, hyper.data)
        keys = _fold_many(stream_key(seed, RandomStream.DROPOUT, step), index)
        metrics, _ = evaluate_episodes(network, self.task.trained_on, params, episodes, keys)
        metrics = jax.tree.map(jnp.mean, metrics)
        return metrics["loss"], metrics

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
        )
        grads = constrain_to_layout(grads, self.layout.mesh(self.batch), network.backbone.shard_by)
        metrics["grad_norm"] = optax.tree.norm(grads)
        metrics |= plasticity_gradients(network, grads)
        updates, optimizer = self._optimizer(hyper).update(grads, state.optimizer, params)
        updated = TrainState(state.step + 1, optax.apply_updates(params, updates), optimizer)
        good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), updated, state), metrics

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
        keys = _fold_many(stream_key(seed, split, step), index)
        # A traced split, as in `evaluate`, is never that of training.
        task = self.task.trained_on if split is RandomStream.TRAIN else self.task
        return jax.vmap(task.sample, (0, None))(keys, data)

    def _warmed_up(self, hyper: Hyperparameters, step: Array) -> Hyperparameters:
        """The hyperparameters at a step: eta0 grows by 1 / eta0_warmup of its value at each."""
        if not self.eta0_warmup or "eta0" not in hyper.rule:
            return hyper
        eta0 = hyper.rule["eta0"] * jnp.minimum(1.0, (step + 1) / self.eta0_warmup)
        return hyper._replace(rule={**hyper.rule, "eta0": eta0})

    def _optimizer(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        shape = relative_rate(self.schedule, self.steps, self.warmup)
        return chained(
            self.make_optimizer(hyper),
            lambda count: hyper.learning_rate * shape(count),
            hyper.weight_decay,
            hyper.clip,
            _slow,
        )


def _slow(params: Parameters) -> Parameters:
    """Weight decay applies to slow weights only: alpha -> 0 would remove the plasticity."""
    return Parameters(
        jax.tree.map(lambda _: True, params.slow), jax.tree.map(lambda _: False, params.plasticity)
    )


def stream_key(seed: Array, stream: Array | int, step: Array | int = 0) -> Key:
    """The key of a stream of randomness at a step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), step)


def _fold_many(key: Key, index: Array) -> Key:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)


def evaluate_episodes(
    network: Network, task: Task, params: Parameters, episodes: Episode, keys: Key | None
) -> tuple[dict[str, Array], EpisodeTrace]:
    """Runs B episodes: metrics {name: [B]}, with the loss weighted by step, and the trace.

    A target that is NaN where the weight is 0 stands for "no target": loss and metrics get 0 in its
    place, so that neither they nor the gradient become NaN.
    """
    trace = run_episodes(network, params, episodes.inputs, keys, episodes.queries)
    answers, weights = trace.outputs.task, episodes.weights
    episodes = episodes._replace(targets=without_unused_nans(episodes.targets, weights))
    losses = jnp.where(weights == 0, 0.0, jax.vmap(task.loss)(answers, episodes))
    loss = (losses * weights).sum(1) / weights.sum(1)
    metrics = {"loss": loss} | jax.vmap(task.metrics)(answers, episodes)
    return metrics | jax.lax.stop_gradient(telemetry(network, params, trace)), trace
