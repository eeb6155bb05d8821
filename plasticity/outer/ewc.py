"""Elastic weight consolidation: weights that mattered to earlier tasks are held where they were.

  g <- g + strength sum_k F_k (w - w_k)

w_k are the weights at the end of task k, and F_k there is the diagonal of the Fisher information.
Online, one term takes the place of the sum: F <- decay F + F_k, held at the newest w_k.

Source: Kirkpatrick et al. 2017 (arXiv 1612.00796); online: Schwarz et al. 2018 (arXiv 1805.06370).
The sum is kept as two trees, sum F_k and sum F_k w_k, whatever the number of tasks. Departures: the
Fisher information is the empirical one, of the labels, and its unit is an episode's mean loss.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.registry import exportable
from plasticity.types import PyTree


class Protection(NamedTuple):
    """Settings of elastic weight consolidation."""

    strength: float
    decay: float = 1.0  # online only
    online: bool = False
    episodes: int = 64  # over which the Fisher information is averaged


class Protected(NamedTuple):
    """State of an optimizer whose weights are held; both trees are like the parameters."""

    fisher: PyTree  # sum of F_k; 0 during the first task
    pull: PyTree  # sum of F_k w_k
    inner: PyTree


exportable(Protected)


def protected(
    inner: optax.GradientTransformation, settings: Protection
) -> optax.GradientTransformation:
    """The optimizer `inner` with the gradient of the penalty, before any clip."""

    def init(params: PyTree) -> Protected:
        zeros, others = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return Protected(zeros, others, inner.init(params))

    def update(grads: PyTree, state: Protected, params: PyTree) -> tuple[PyTree, Protected]:
        held = jax.tree.map(
            lambda g, w, f, p: g + settings.strength * (f * w - p),
            *(grads, params, state.fisher, state.pull),
        )
        updates, rest = inner.update(held, state.inner, params)
        return updates, state._replace(inner=rest)

    return optax.GradientTransformation(init, update)


def after_task(state: Protected, params: PyTree, fisher: PyTree, settings: Protection) -> Protected:
    """The state once a task has ended with these weights and this Fisher information."""
    keep = settings.decay if settings.online else 1.0
    total = jax.tree.map(lambda old, new: keep * old + new, state.fisher, fisher)
    if settings.online:
        return state._replace(fisher=total, pull=jax.tree.map(jnp.multiply, total, params))
    pull = jax.tree.map(lambda p, f, w: p + f * w, state.pull, fisher, params)
    return state._replace(fisher=total, pull=pull)
