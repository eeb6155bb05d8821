"""Slow linear maps with the initialisation that the paper's networks start from."""

from collections.abc import Callable

import jax
from flax import linen as nn
from jax import numpy as jnp

from plasticity.types import Array, DType, Key


def uniform(bound: float) -> Callable[..., Array]:
    """U(-bound, bound), for kernels and biases alike."""

    def init(key: Key, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

    return init


def linear(fan_in: int, features: int) -> nn.Dense:
    """A dense layer, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for the `setup` of a Linen module."""
    init = uniform(fan_in**-0.5)
    return nn.Dense(features, kernel_init=init, bias_init=init)
