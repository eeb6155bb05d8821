"""Maps of inputs to vectors, and how they are initialised.

Linear maps: as in the code of Chaudhary 2025, which is PyTorch's default. Tables: as in GPT-2.
"""

from collections.abc import Callable

import jax
from flax import linen as nn
from jax import numpy as jnp

from plasticity.types import Array, DType, Key


def uniform(bound: float) -> Callable[..., Array]:
    """Returns an initializer that draws from U(-bound, bound), for kernels and biases."""

    def init(key: Key, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

    return init


def linear(fan_in: int, features: int) -> nn.Dense:
    """Returns a dense layer with parameters from U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    init = uniform(fan_in**-0.5)
    return nn.Dense(features, kernel_init=init, bias_init=init)


def table(vocabulary: int, features: int) -> nn.Embed:
    """Returns the embedding of tokens below `vocabulary`; one that is not has the embedding NaN."""
    return nn.Embed(vocabulary, features, embedding_init=nn.initializers.normal(0.02))
