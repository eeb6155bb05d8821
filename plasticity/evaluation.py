"""Runs episodes and scores their answers."""

import jax
import jax.numpy as jnp

from plasticity.network import EpisodeTrace, Network, Parameters
from plasticity.task import Episode, Task, without_unused_nans
from plasticity.telemetry import telemetry
from plasticity.types import Array, Key
from plasticity.unroll import run_episodes


def evaluate_episodes(
    network: Network, task: Task, params: Parameters, episodes: Episode, keys: Key | None
) -> tuple[dict[str, Array], EpisodeTrace]:
    """Runs B episodes: metrics {name: [B]}, with the loss weighted by step, and the trace.

    A target that is NaN where the weight is 0 stands for "no target": loss and metrics get 0 in its
    place, so that neither they nor the gradient become NaN.

    Args:
      network: the parts.
      task: of the episodes.
      params: slow weights and theta.
      episodes: [B, ...].
      keys: [B], seed dropout; None: no dropout.
    """
    share, read = network.backbone.share, params
    if share is not None:
        read = Parameters(*share.entered(*params))
    trace = run_episodes(network, read, episodes.inputs, keys, episodes.queries)
    answers, weights = trace.outputs.task, episodes.weights
    episodes = episodes._replace(targets=without_unused_nans(episodes.targets, weights))
    losses = jnp.where(weights == 0, 0.0, jax.vmap(task.loss)(answers, episodes))
    loss = (losses * weights).sum(1) / weights.sum(1)
    metrics = {"loss": loss} | jax.vmap(task.metrics)(answers, episodes)
    return metrics | jax.lax.stop_gradient(telemetry(network, params, trace)), trace
