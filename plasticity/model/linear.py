"""Slow linear maps with the initialisation that the paper's networks start from."""

from collections.abc import Callable

import jax
from flax import linen as nn
from jax import numpy as jnp

from plasticity.types import Array, DType, Key


def _uniform_fan_in(fan_in: int) -> Callable[..., Array]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for kernels and biases alike."""
    bound = fan_in**-0.5

    def init(key: Key, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

    return init


def linear(fan_in: int, features: int, name: str | None = None) -> nn.Dense:
    """A dense layer; call it inside a compact Linen method."""
    init = _uniform_fan_in(fan_in)
    return nn.Dense(features, kernel_init=init, bias_init=init, name=name)
