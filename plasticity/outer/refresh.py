"""Refresh learning: before each step the weights forget a little of what the batch says.

  u = |w| g / |g|, norms over each tensor, g the gradient of the batch's loss
  w <- w + delta (u + noise_scale xi) / (1 + fisher_scale F),   xi standard normal
  then an ordinary step, with the gradient at the refreshed weights

F is the diagonal of the Fisher information after earlier tasks, F <- decay F + `fisher_diagonal`.
It is 0 during the first task. In a run of the programs it is that of `plasticity.outer.ewc`, if the
stream is learned so, and else 0. The control `random` replaces g by a random direction.

Source: Wang et al. 2024 (arXiv 2403.13249), in the form of its release. There u starts as an ascent
step of a copy of the network; the rate of that step cancels in u.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.types import Array, Key, PyTree, Scalar

TINY = 1e-20  # a gradient of 0 is not divided by 0


class Refresh(NamedTuple):
    """How weights are refreshed."""

    delta: Scalar  # size of the change, relative to the norm of a tensor
    noise_scale: Scalar  # of xi
    fisher_scale: Scalar = 1.0  # how much a large F protects a weight
    random: bool = False  # a control: u has the same norm and no relation to the batch


def refreshed(
    params: PyTree, grads: PyTree, noise: PyTree, settings: Refresh, fisher: PyTree = None
) -> PyTree:
    """The weights after a refresh; w, g, xi and F are trees of one structure; F None: 0."""

    def one(w: Array, g: Array, xi: Array, f: Array | float = 0.0) -> Array:
        u = g * (jnp.linalg.norm(w.ravel()) / (jnp.linalg.norm(g.ravel()) + TINY))
        change = settings.delta * (u + settings.noise_scale * xi)
        return w + change / (1 + settings.fisher_scale * f)

    return jax.tree.map(one, params, grads, noise, *(() if fisher is None else (fisher,)))


def with_refresh(
    gradient: Callable[[PyTree], tuple[Any, PyTree]],
    params: PyTree,
    key: Key,
    settings: Refresh | None,
    fisher: PyTree = None,
) -> tuple[PyTree, tuple[Any, PyTree]]:
    """Refreshed weights, and what `gradient` returns at them: (anything, gradient of the loss).

    Without settings the weights stay as they are.
    """
    if settings is None:
        return params, gradient(params)
    noise = optax.tree.random_like(key, params, jax.random.normal)
    if settings.random:
        other = jax.random.fold_in(key, 0)
        direction = optax.tree.random_like(other, params, jax.random.normal)
    else:
        _, direction = gradient(params)
    params = refreshed(params, direction, noise, settings, fisher)
    return params, gradient(params)


def fisher_diagonal(
    log_likelihood: Callable[[PyTree, Any], Array], params: PyTree, examples: PyTree
) -> PyTree:
    """Mean over examples of p (d log p / dw)^2, p the probability of the label: a tree like params.

    The weight p is that of the release; an ordinary empirical Fisher has none. `log_likelihood` is
    (params, example) -> log p [], and `examples` a tree of arrays with a leading axis of examples.
    """

    def one(example: PyTree) -> PyTree:
        value, grads = jax.value_and_grad(log_likelihood)(params, example)
        return jax.tree.map(lambda g: jnp.exp(value) * g**2, grads)

    return jax.tree.map(lambda squares: squares.mean(0), jax.vmap(one)(examples))
