"""The outer loop: slow weights and plasticity parameters, trained across episodes.

Everything random is a pure function of (seed, stream, step, index), so that a resumed run equals
one that never stopped and seeds are paired across rules.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from plasticity.batches import like_parameters, mean_over_batch, metrics_and_gradient
from plasticity.evaluation import evaluate_episodes
from plasticity.network import Network, Parameters, init_parameters
from plasticity.objective import objective
from plasticity.outer import adamw
from plasticity.outer.consolidation import Consolidation, with_consolidation
from plasticity.outer.ewc import Protection, after_task, protected
from plasticity.outer.optimizer import Optimizer, chained, relative_rate
from plasticity.outer.refresh import Refresh, with_refresh
from plasticity.outer.task_stream import TaskStream
from plasticity.randomness import RandomStream as RandomStream
from plasticity.randomness import fold_many, stream_key
from plasticity.records import FINITE, Measured
from plasticity.records import Hyperparameters as Hyperparameters
from plasticity.records import TrainState as TrainState
from plasticity.rules import none
from plasticity.sharding import Layout, constrain_to_layout, split_over_devices
from plasticity.task import Episode, Task
from plasticity.telemetry import fast_norm, plasticity_gradients
from plasticity.types import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Learner:
    """Pure functions that train and evaluate one network on one task; all may be jitted.

    Their arguments: params, slow weights and theta; seed [] int32; step [] int32, the number of the
    update; index [B] int32, which episodes; split, a `RandomStream`; hyper, the program's inputs.

    Attributes:
      task: the distribution of episodes, their loss and metrics.
      make_network: hyper -> Network; called while tracing.
      batch: B, episodes per step.
      microbatch: how many of them a device differentiates at once, at most; 0: all of its share.
      steps: training steps, by which the schedule is laid out.
      warmup: steps in which the learning rate rises linearly to its value.
      schedule: of the learning rate afterwards: "constant", or "cosine" down to zero at `steps`.
      eta0_warmup: steps in which the rule's eta0, if it has one, rises linearly to its value.
      layout: how a batch is spread over devices.
      make_optimizer: hyper -> Optimizer.
      refresh: how the weights are refreshed before every step, see `plasticity.outer.refresh`.
      stream: the order of the tasks, if `task` is a stream of several.
      protection: of weights that mattered to earlier tasks, see `plasticity.outer.ewc`.
      consolidation: the flow of fast weights into slow ones after every step.
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
    consolidation: Consolidation | None = None

    def init(self, seed: Array, hyper: Hyperparameters) -> TrainState:
        """The state before the first step; errors as of `start`."""
        params = init_parameters(self.make_network(hyper), stream_key(seed, RandomStream.INIT))
        return self.start(params, hyper)

    def start(self, params: Parameters, hyper: Hyperparameters) -> TrainState:
        """The state before the first step, with these parameters.

        Raises:
          ValueError: the schedule is unknown, or a period names no part of the parameters.
        """
        return TrainState(jnp.zeros((), jnp.int32), params, self._optimizer(hyper).init(params))

    def loss(
        self,
        params: Parameters,
        seed: Array,
        step: Array,
        index: Array,
        hyper: Hyperparameters,
        devices: int = 1,
    ) -> tuple[Array, Measured]:
        """What is minimised, [], for training episodes [B] of a step, and what is measured of them.

        It is differentiable in params. With several `devices`, each has its part of the parameters,
        see `Network.part`.
        """
        network = self._network(hyper)
        network = network.part(devices) or network
        episodes = self.episodes(seed, RandomStream.TRAIN, step, index, hyper.data)
        keys = fold_many(stream_key(seed, RandomStream.DROPOUT, step), index)
        flows = self.consolidation is not None
        return objective(network, self.task.trained_on, params, episodes, keys, flows)

    def gradient(
        self, params: Parameters, seed: Array, step: Array, hyper: Hyperparameters
    ) -> tuple[Measured, Parameters]:
        """What `loss` measures of the training episodes of a step, and the gradient of the loss.

        Over devices and in microbatches, as configured.
        """

        def share(loss: Callable, index: Array, *args: PyTree) -> tuple[Measured, Parameters]:
            params, seed, step, hyper = args
            grad = jax.value_and_grad(loss, has_aux=True)
            (_, measured), grads = grad(params, seed, step, index, hyper)
            return measured, grads

        over = (self.loss, self._network(hyper), self.layout.mesh(self.batch))
        mean = mean_over_batch(share, *over, self.microbatch, metrics_and_gradient)
        return mean(jnp.arange(self.batch), params, seed, step, hyper)

    def train_step(
        self, state: TrainState, seed: Array, hyper: Hyperparameters
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update. If a metric named in `FINITE` is not finite, the state is returned unchanged.

        Returns:
          The state, and mean metrics {name: []} of the batch before the update: those of the task,
          `loss`, `grad_norm`, those of `plasticity.telemetry`, `auxiliary` and `consolidated`.
        """
        hyper = self.warmed_up(hyper, state.step)
        network = self.make_network(hyper)
        params, ((metrics, fast), grads) = with_refresh(
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
        params = optax.apply_updates(params, updates)
        flow = (hyper.consolidation, self.consolidation)
        key = stream_key(seed, RandomStream.CONSOLIDATION)
        slow, flowed = with_consolidation(params.slow, fast, *flow, key)
        metrics |= flowed
        updated = TrainState(state.step + 1, params._replace(slow=slow), optimizer)
        good = jnp.isfinite(sum(metrics[name] for name in FINITE if name in metrics))
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), updated, state), metrics

    def end_task(self, state: TrainState, seed: Array, hyper: Hyperparameters) -> TrainState:
        """The state once the task of the last update is over: `protection` remembers it."""
        assert self.protection is not None
        hyper = self.warmed_up(hyper, state.step)

        def share(loss: Callable, index: Array, *args: PyTree) -> Parameters:
            grads, _ = jax.grad(loss, has_aux=True)(args[0], *args[1:3], index, args[3])
            return jax.tree.map(jnp.square, grads)

        episodes = self.protection.episodes
        over = (self.loss, self._network(hyper), self.layout.mesh(episodes))
        mean = mean_over_batch(share, *over, 1, like_parameters)
        fisher = mean(jnp.arange(episodes), state.params, seed, state.step - 1, hyper)
        kept = after_task(state.optimizer, state.params, fisher, self.protection)
        return state._replace(optimizer=kept)

    def forward(self, params: Parameters, seed: Array, hyper: Hyperparameters) -> Array:
        """The loss [] of the first training batch, without a gradient."""

        def share(loss: Callable, index: Array, *args: PyTree) -> Array:
            params, seed, hyper = args
            return loss(params, seed, jnp.zeros((), jnp.int32), index, hyper)[0]

        over = (self.loss, self._network(hyper), self.layout.mesh(self.batch))
        mean = mean_over_batch(share, *over)
        return mean(jnp.arange(self.batch), params, seed, hyper)

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

        `on=False` switches plasticity off, for the same network and episodes: fast weights stay at
        zero, and memories stay as they are at the start of an episode.
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

    def _network(self, hyper: Hyperparameters) -> Network:
        """The network of the loss. Its layers are not shared if fast weights are consolidated."""
        network = self.make_network(hyper)
        if self.consolidation is None:
            return network
        return network._replace(backbone=network.backbone._replace(part=None))

    def warmed_up(self, hyper: Hyperparameters, step: Array) -> Hyperparameters:
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
