"""Feature maps and norms of keys and queries, for memory sites. All act on the last axis."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from plasticity.types import Array


def dpfp(x: Array, nu: int) -> Array:
    """Deterministic parameter-free projection: [..., I] -> [..., 2 nu I].

    With r = relu([x, -x]), entry (j, i) is r_i r_(i-j), indices modulo 2 I, for j = 1 to nu. Where
    keys differ in sign somewhere, their features differ in which entries are 0.

    Source: Schlag et al. 2021 (arXiv 2102.11174), equation 37 and its code.
    """
    r = jax.nn.relu(jnp.concatenate([x, -x], -1))
    return jnp.concatenate([r * jnp.roll(r, j, -1) for j in range(1, nu + 1)], -1)


def unit(x: Array) -> Array:
    """x / |x|; 0 stays 0, with the derivative 0."""
    square = (x * x).sum(-1, keepdims=True)
    empty = square == 0
    return jnp.where(empty, 0, x * jax.lax.rsqrt(jnp.where(empty, 1, square)))


def share(x: Array) -> Array:
    """x / sum(x), for x >= 0; 0 stays 0."""
    total = x.sum(-1, keepdims=True)
    return jnp.where(total == 0, 0, x / jnp.where(total == 0, 1, total))


# {name: feature map}. `elu` is elu + 1 (Katharopoulos et al. 2020, arXiv 2006.16236).
FEATURES: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
    "elu": lambda x: jax.nn.elu(x) + 1,
    "softmax": jax.nn.softmax,
    **{f"dpfp{nu}": partial(dpfp, nu=nu) for nu in (1, 2, 3)},
}

# {name: norm}. `sum` is Schlag et al.'s, for features that are not negative.
NORMS: dict[str, Callable[[Array], Array]] = {"none": lambda x: x, "unit": unit, "sum": share}
