"""Feature maps and norms of keys and queries, for memory sites. All act on the last axis."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from plasticity.types import Array


def dpfp(x: Array, nu: int) -> Array:
    """Deterministic parameter-free projection: [..., I] -> [..., 2 nu I].

    With r = relu([x, -x]), entry (j, i) is r_i r_(i-j), indices modulo 2 I, for j = 1 to nu. If two
    keys differ in the sign of an entry, their features are 0 at different places.

    Source: Schlag et al. 2021 (arXiv 2102.11174), equation 37 and its code.

    >>> import jax.numpy as jnp
    >>> dpfp(jnp.array([1.0, -2.0]), nu=1).tolist()  # r = (1, 0, 0, 2)
    [2.0, 0.0, 0.0, 0.0]
    """
    r = jax.nn.relu(jnp.concatenate([x, -x], -1))
    return jnp.concatenate([r * jnp.roll(r, j, -1) for j in range(1, nu + 1)], -1)


def unit(x: Array) -> Array:
    """x / |x|, [..., I] -> [..., I]; 0 stays 0, with the derivative 0.

    >>> import jax.numpy as jnp
    >>> unit(jnp.array([3.0, 4.0])).round(1).tolist() == jnp.array([0.6, 0.8]).tolist()
    True
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # squares overflow float16
    square = (wide * wide).sum(-1, keepdims=True)
    empty = square == 0
    return jnp.where(empty, 0, wide * jax.lax.rsqrt(jnp.where(empty, 1, square))).astype(x.dtype)


def slow_sigmoid(x: Array) -> Array:
    """sigmoid(x)^(1/16), a keep close to 1, [...] -> [...].

    Computed from log sigmoid(x). Where sigmoid(x) is 0 in float32, its power has no gradient.

    Source: Yang et al. 2023 (arXiv 2312.06635).
    """
    return jnp.exp(jax.nn.log_sigmoid(x) / 16)


def share(x: Array) -> Array:
    """x / sum(x), [..., I] -> [..., I], for x >= 0; 0 stays 0.

    >>> import jax.numpy as jnp
    >>> share(jnp.array([1.0, 3.0])).tolist()
    [0.25, 0.75]
    """
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
