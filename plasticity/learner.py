"""The outer loop: slow weights and plasticity parameters, trained across episodes.

Everything random is a pure function of (seed, stream, step, index), so that a resumed run equals
one that never stopped and seeds are paired across rules.
"""

import dataclasses
import enum
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.episode import Network, Parameters, Trace, init_parameters, run_episode
from plasticity.model.head import modulator_column
from plasticity.registry import lookup
from plasticity.rules import none
from plasticity.synapse import write_norm_squared
from plasticity.types import Array, Episode, Key, PyTree, Scalar, Task


class Stream(enum.IntEnum):
    """Streams of randomness. Their numbers are part of every result: never renumber."""

    INIT = 0
    TRAIN = 1
    DROPOUT = 2
    VALIDATION = 3
    TEST = 4


SCHEDULES: dict[str, Callable[[int], optax.Schedule]] = {
    "constant": lambda steps: optax.constant_schedule(1.0),
    "cosine": lambda steps: optax.cosine_decay_schedule(1.0, max(steps, 1)),
}


class Knobs(NamedTuple):
    """Continuous hyper-parameters, traced: changing them does not recompile."""

    eta0: Scalar
    max_norm: Scalar
    learning_rate: Scalar
    weight_decay: Scalar
    clip: Scalar  # of the outer gradient's global norm


class TrainState(NamedTuple):
    """All that training carries from step to step."""

    step: Array  # [] int32, updates done
    params: Parameters
    optimizer: PyTree


@dataclasses.dataclass(frozen=True)
class Learner:
    """Pure functions that train and evaluate one network on one task; jit them at will.

    Attributes:
      task: where episodes come from.
      make_network: knobs -> Network; called while tracing.
      batch: B, episodes per step.
      steps, warmup, schedule: linear warm-up to the learning rate over `warmup` steps, then
        "constant", or "cosine" down to zero at `steps`.
    """

    task: Task
    make_network: Callable[[Knobs], Network]
    batch: int
    steps: int
    warmup: int
    schedule: str

    def init(self, seed: Array, knobs: Knobs) -> TrainState:
        """The state before the first step."""
        params = init_parameters(self.make_network(knobs), stream_key(seed, Stream.INIT))
        return TrainState(jnp.zeros((), jnp.int32), params, self._optimizer(knobs).init(params))

    def loss(
        self, params: Parameters, seed: Array, step: Array, knobs: Knobs
    ) -> tuple[Array, dict[str, Array]]:
        """Mean outer loss [] of the training episodes of a step, and their mean metrics."""
        network = self.make_network(knobs)
        episodes = self.episodes(seed, Stream.TRAIN, step, jnp.arange(self.batch))
        keys = _fold_many(stream_key(seed, Stream.DROPOUT, step), jnp.arange(self.batch))
        losses, metrics = jax.vmap(
            lambda episode, key: judge(network, self.task, params, episode, key)
        )(episodes, keys)
        return losses.mean(), jax.tree.map(jnp.mean, metrics)

    def train_step(
        self, state: TrainState, seed: Array, knobs: Knobs
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update. If loss or gradient is not finite, the state comes back as it was."""
        (_, metrics), grads = jax.value_and_grad(self.loss, has_aux=True)(
            state.params, seed, state.step, knobs
        )
        metrics["grad_norm"] = optax.tree.norm(grads)
        metrics |= plasticity_gradients(grads, self.task.outputs)
        updates, optimizer = self._optimizer(knobs).update(grads, state.optimizer, state.params)
        updated = TrainState(state.step + 1, optax.apply_updates(state.params, updates), optimizer)
        good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), updated, state), metrics

    def evaluate(
        self,
        params: Parameters,
        seed: Array,
        split: Array | int,
        index: Array,
        knobs: Knobs,
        on: bool,
    ) -> dict[str, Array]:
        """Metrics [B] of the fixed episodes with indices [B] of a split, which is a `Stream`.

        `on=False` holds the fast weights at zero: the same net on the same episodes, not plastic.
        """
        network = self.make_network(knobs)
        if not on:
            network = network._replace(rule=none())
        episodes = self.episodes(seed, split, jnp.zeros((), jnp.int32), index)
        return jax.vmap(lambda e: judge(network, self.task, params, e, None)[1])(episodes)

    def episodes(self, seed: Array, split: Array | int, step: Array, index: Array) -> Episode:
        """Episodes [B] with indices [B]: a pure function of all four arguments."""
        return jax.vmap(self.task.sample)(_fold_many(stream_key(seed, split, step), index))

    def _optimizer(self, knobs: Knobs) -> optax.GradientTransformation:
        shape = optax.join_schedules(
            [
                # Step 0 already moves, by 1 / warmup of the full rate.
                lambda count: (count + 1) / max(self.warmup, 1),
                lookup(SCHEDULES, self.schedule, "train.schedule")(self.steps - self.warmup),
            ],
            [self.warmup],
        )
        return optax.chain(
            optax.clip_by_global_norm(knobs.clip),
            optax.adamw(
                lambda count: knobs.learning_rate * shape(count),
                weight_decay=knobs.weight_decay,
                mask=_decayed,
            ),
        )


def _decayed(params: Parameters) -> Parameters:
    """Weight decay pulls slow weights to zero, never the plasticity: alpha = 0 is no plasticity."""
    return Parameters(
        jax.tree.map(lambda _: True, params.slow), jax.tree.map(lambda _: False, params.plasticity)
    )


def stream_key(seed: Array, stream: Array | int, step: Array | int = 0) -> Key:
    """The key of a stream of randomness at a step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), step)


def _fold_many(key: Key, index: Array) -> Key:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)


def judge(
    network: Network, task: Task, params: Parameters, episode: Episode, key: Key | None
) -> tuple[Array, dict[str, Array]]:
    """Runs one episode: its loss [], weighted by step, and its metrics {name: []}."""
    trace = run_episode(network, params, episode.inputs, key)
    losses = task.loss(trace.outputs.task, episode)
    loss = (losses * episode.weights).sum() / episode.weights.sum()
    metrics = {"loss": loss} | task.metrics(trace.outputs.task, episode)
    return loss, metrics | jax.lax.stop_gradient(telemetry(network, params, trace))


def plasticity_gradients(grads: Parameters, outputs: int) -> dict[str, Array]:
    """Norms [] of d loss / d alpha and d loss / d (the modulator's weights)."""
    alpha = [synapse._replace(beta=None) for synapse in grads.plasticity.synapses.values()]
    return {
        "grad_alpha": optax.tree.norm(alpha) if jax.tree.leaves(alpha) else jnp.zeros(()),
        "grad_modulator": jnp.linalg.norm(modulator_column(grads.slow, outputs)),
    }


def telemetry(network: Network, params: Parameters, trace: Trace) -> dict[str, Array]:
    """How plastic an episode was; zeros under a static rule.

    Returns:
      eta_mean: the rate, averaged over steps and layers.
      write_norm: ||eta alpha delta|| over all plastic weights, averaged over steps.
      fast_norm: ||w|| over all plastic weights after the last step.
    """
    if network.rule.static:
        return dict.fromkeys(("eta_mean", "write_norm", "fast_norm"), jnp.zeros(()))
    synapses = params.plasticity.synapses
    rates, squares, fast = [], [], []
    for name, write in trace.writes.items():
        rates.append(write.rate.mean())
        rate = jnp.broadcast_to(write.rate.T, write.left.T.shape).T  # [T] or [T, O] -> [T, O]
        squares.append(
            jax.vmap(write_norm_squared, (None, 0, 0))(
                synapses[name], rate * write.left, write.right
            )
        )
        weight = network.memory.weights(trace.fast[name], synapses[name]).weight
        fast.append((weight**2).sum())
    return {
        "eta_mean": jnp.mean(jnp.stack(rates)),
        "write_norm": jnp.sqrt(sum(squares)).mean(),
        "fast_norm": jnp.sqrt(sum(fast)),
    }
