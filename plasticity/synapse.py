"""Plasticity coefficients of a layer: how strongly, and with which sign, each synapse learns.

`alpha` scales every write and is constant within an episode, so it can scale the read instead:
with the trace h <- keep * h + rate * left right^T, the fast weight is w = alpha * h. Memories
store h, and this module alone applies alpha. Two of its three forms need no matrix:

  per_synapse  alpha [O, I]                       (Chaudhary 2025, Miconi et al. 2018)
  per_neuron   alpha_out [O] alpha_in [I]^T       rank one
  shared       alpha_out []
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.registry import exportable, lookup
from plasticity.types import Array, Key, LayerShape, Synapse

Initializer = Callable[[Key, tuple[int, ...]], Array]


def _constant(scale: float) -> Initializer:
    return lambda key, shape: jnp.full(shape, scale, jnp.float32)


def _uniform(scale: float) -> Initializer:
    low, high = sorted([-scale, scale])  # the other way round, all numbers would be the first
    return lambda key, shape: jax.random.uniform(key, shape, jnp.float32, low, high)


INITIALIZERS = {"constant": _constant, "uniform": _uniform}


def _per_synapse(key: Key, shape: LayerShape, initializer: Initializer) -> Synapse:
    return Synapse(initializer(key, shape))


def _per_neuron(key: Key, shape: LayerShape, initializer: Initializer) -> Synapse:
    # Only one side is random: the product then has the distribution of the initializer.
    alpha_out = initializer(key, (shape.outputs,))
    return Synapse(None, alpha_out, jnp.ones((shape.inputs,), jnp.float32))


def _shared(key: Key, shape: LayerShape, initializer: Initializer) -> Synapse:
    return Synapse(alpha_out=initializer(key, ()))


MODES = {"per_synapse": _per_synapse, "per_neuron": _per_neuron, "shared": _shared}


def init(
    key: Key, shape: LayerShape, *, mode: str, initializer: str, scale: float, plastic_bias: bool
) -> Synapse:
    """Coefficients of one layer, in float32.

    Args:
      key: PRNG key.
      shape: sizes of the layer.
      mode: a name of `MODES`.
      initializer: a name of `INITIALIZERS`: all `scale`, or uniform on (-scale, scale).
      scale: the paper starts all coefficients at 0.02; Duan et al. draw them from U(-1, 1).
      plastic_bias: whether the bias is plastic; its beta is drawn like alpha.

    Raises:
      ValueError: a name is unknown.
    """
    draw = lookup(INITIALIZERS, initializer, "alpha_init")(scale)
    alpha_key, beta_key = jax.random.split(key)
    synapse = lookup(MODES, mode, "alpha")(alpha_key, shape, draw)
    if not plastic_bias:
        return synapse
    return synapse._replace(beta=draw(beta_key, () if mode == "shared" else (shape.outputs,)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def copies(alpha: Array, episodes: int) -> Array:
    """B copies [B, O, I] of alpha [O, I], for `jax.vmap` over episodes that multiply it by a trace.

    With one alpha for all, JAX would sum its gradient over the leading axis of [B, O, I], which
    XLA's CPU compiler does ten times slower than a product with ones, the adjoint here.
    """
    return jnp.broadcast_to(alpha, (episodes, *alpha.shape))


@copies.defjvp
def _copies_of_tangent(
    episodes: int, alphas: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    """The tangent is a product with ones, too, of which JAX makes the adjoint."""
    ones = jnp.ones((episodes,), tangents[0].dtype)
    product = jnp.tensordot(ones, tangents[0], axes=0, precision=jax.lax.Precision.HIGHEST)
    return copies(alphas[0], episodes), product


def _times(factor: Array | None, x: Array) -> Array:
    return x if factor is None else factor * x


def scaled_matvec(synapse: Synapse, trace: Array, x: Array) -> Array:
    """(alpha * trace) x for a trace [O, I] and x [I]."""
    return _times(synapse.alpha_out, _times(synapse.alpha, trace) @ _times(synapse.alpha_in, x))


# Of a memory whose trace is its weights, w = h, and which has no bias.
PLAIN = Synapse()


class WrittenRows(NamedTuple):
    """The outer products left_p right_p^T of a trace, by their factors."""

    left: Array  # [P, O]
    right: Array  # [P, I]


exportable(WrittenRows)


def scaled_mix(synapse: Synapse, parts: Sequence[tuple[WrittenRows, Array]], x: Array) -> Array:
    """w x for the trace sum_p c_p left_p right_p^T, without forming a matrix: [O].

    Args:
      synapse: alpha.
      parts: rows [P] and their coefficients c, [P], or [P, O] where they differ by output. Parts
        may differ in P, which may be zero.
      x: [I].
    """
    query = _times(synapse.alpha_in, x)
    mixed = [_mix(synapse.alpha, rows, c, query) for rows, c in parts if len(rows.left)]
    if not mixed:
        return jnp.zeros(parts[0][0].left.shape[1:], x.dtype)
    return _times(synapse.alpha_out, functools.reduce(jnp.add, mixed))


def _mix(alpha: Array | None, rows: WrittenRows, coefficient: Array, query: Array) -> Array:
    """(alpha * sum_p c_p left_p right_p^T) query, [O], for a matrix `alpha` or none."""
    if alpha is None and coefficient.ndim == 1:
        return (coefficient * (rows.right @ query)) @ rows.left
    scores = (
        (rows.right @ query)[:, None] if alpha is None else (rows.right * query[None, :]) @ alpha.T
    )
    return (coefficient.reshape(len(coefficient), -1) * rows.left * scores).sum(0)


def scaled_bias(synapse: Synapse, trace: Array) -> Array:
    """beta * trace [O]; zeros where the bias is not plastic."""
    return jnp.zeros_like(trace) if synapse.beta is None else synapse.beta * trace


def scaled_matrix(synapse: Synapse, trace: Array) -> Array:
    """alpha * trace, [O, I]."""
    scaled = _times(synapse.alpha, trace)
    if synapse.alpha_in is not None:
        scaled = scaled * synapse.alpha_in[None, :]
    if synapse.alpha_out is None:
        return scaled
    return jnp.broadcast_to(synapse.alpha_out, trace.shape[:1])[:, None] * scaled


def write_norm_squared(synapse: Synapse, left: Array, right: Array) -> Array:
    """||alpha * left right^T||^2, [], without building the matrix twice; terms [N, ...] add up."""
    if left.ndim == 2:
        return (scaled_matrix(synapse, left.T @ right) ** 2).sum()
    left, right = _times(synapse.alpha_out, left) ** 2, _times(synapse.alpha_in, right) ** 2
    if synapse.alpha is None:
        return left.sum() * right.sum()
    return left @ (synapse.alpha**2 @ right)
