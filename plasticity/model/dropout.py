"""Dropout of values of which each device has a part."""

import jax.numpy as jnp
from flax import linen as nn

from plasticity.shares import Share
from plasticity.types import Array


def dropped(
    drop: nn.Dropout, values: Array, deterministic: bool, share: Share | None, axis: int
) -> Array:
    """Returns values after dropout, with the mask of the network that is not shared.

    Args:
      drop: the module.
      values: whole, or a device's part along `axis`.
      deterministic: whether there is no dropout.
      share: how devices share the values: each draws the mask of all and takes its part. None: they
        are whole.
      axis: of the values, along which they are shared.
    """
    if share is None or deterministic:
        return drop(values, deterministic=deterministic)
    every = list(values.shape)
    every[axis] *= share.devices
    mask = drop(jnp.ones(every, values.dtype), deterministic=False)
    return values * share.own(mask, axis)
