"""What the outer loop minimises."""

from functools import partial

import jax
import jax.numpy as jnp

from plasticity.evaluation import evaluate_episodes
from plasticity.network import Network, Parameters
from plasticity.records import Measured
from plasticity.task import Episode, Task
from plasticity.telemetry import mean_fast_weights
from plasticity.types import Array, Key


def objective(
    network: Network,
    task: Task,
    params: Parameters,
    episodes: Episode,
    keys: Key | None,
    consolidates: bool,
) -> tuple[Array, Measured]:
    """The objective [] of B episodes, and what is measured of them.

    The objective is the sum of the mean outer loss, the auxiliary loss of the rule and the local
    loss of the backbone. The metric "auxiliary" is the sum of the last two, if there are any.

    Args:
      network: the parts.
      task: of the episodes.
      params: slow weights and theta.
      episodes: [B, ...].
      keys: [B], seed dropout; None: no dropout.
      consolidates: whether mean fast weights are measured.
    """
    metrics, trace = evaluate_episodes(network, task, params, episodes, keys)
    added = [] if trace.auxiliary is None else [trace.auxiliary.mean(1)]
    if local := network.backbone.local_loss:
        added.append(jax.vmap(partial(local, params.slow))(episodes))
    if added:
        metrics["auxiliary"] = sum(added[1:], added[0])
    metrics = jax.tree.map(jnp.mean, metrics)
    fast = mean_fast_weights(network, params, trace) if consolidates else {}
    total = metrics["loss"] + metrics.get("auxiliary", 0.0)
    return total, (metrics, jax.lax.stop_gradient(fast))
