"""Runs episodes and scores their answers."""

import jax
import jax.numpy as jnp

from plasticity.network import EpisodeTrace, Network, Parameters
from plasticity.task import Episode, Task
from plasticity.telemetry import telemetry
from plasticity.types import Array, Key, PyTree
from plasticity.unroll import run_episodes


def evaluate_episodes(
    network: Network, task: Task, params: Parameters, episodes: Episode, keys: Key | None
) -> tuple[dict[str, Array], EpisodeTrace]:
    """Runs B episodes: metrics {name: [B]}, with the loss weighted by step, and the trace.

    A target that is NaN where the weight is 0 stands for "no target": loss and metrics get 0 in its
    place, so that neither they nor the gradient become NaN.
    """
    trace = run_episodes(network, params, episodes.inputs, keys, episodes.queries)
    answers, weights = trace.outputs.task, episodes.weights
    episodes = episodes._replace(targets=_without_unused_nans(episodes.targets, weights))
    losses = jnp.where(weights == 0, 0.0, jax.vmap(task.loss)(answers, episodes))
    loss = (losses * weights).sum(1) / weights.sum(1)
    metrics = {"loss": loss} | jax.vmap(task.metrics)(answers, episodes)
    return metrics | jax.lax.stop_gradient(telemetry(network, params, trace)), trace


def _without_unused_nans(targets: PyTree, weights: Array) -> PyTree:
    """The targets, 0 in place of NaN where the weight is 0.

    A mask of the loss alone is not enough: under it the gradient of (a - NaN)^2 is 0 * NaN, NaN.
    """

    def clean(target: Array) -> Array:
        if not jnp.issubdtype(target.dtype, jnp.inexact):
            return target
        unused = (weights == 0).reshape(*weights.shape, *(1,) * (target.ndim - weights.ndim))
        return jnp.where(unused & jnp.isnan(target), 0, target)

    return jax.tree.map(clean, targets)
