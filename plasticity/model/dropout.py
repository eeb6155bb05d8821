"""Dropout of values of which each device has a part, and of the weights of attention."""

import jax.numpy as jnp
from flax import linen as nn

from plasticity.shares import Share
from plasticity.steps import ALWAYS
from plasticity.types import Array, DType


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


def by_age(
    drop: nn.Dropout,
    query: Array,
    key: Array,
    heads: int,
    dtype: DType,
    deterministic: bool,
    share: Share | None,
) -> Array:
    """Factors [H, S, P] of the weights of attention: a query drops a key by its age.

    So masks do not depend on how many entries a past has, nor on their order, which differ between
    engines. Example: step 7 drops the key of step 5 (age 2) with the mask of its own row 2. Each
    number of JAX's random bits depends on its index only, so the first rows are the same however
    many there are.

    Args:
      drop: the module.
      query, key: positions [S] and [P]; `ALWAYS`: a persistent key, of which the first is 0.
      heads: H, those of this device. dtype: of the factors.
      deterministic, share: as for `dropped`.
    """
    entries = len(key)
    if deterministic or not drop.rate:
        return jnp.ones((heads, len(query), entries), dtype)
    persistent = key == ALWAYS
    age = persistent.sum() + query[:, None] - key  # a key that no query sees may have any age
    row = jnp.where(persistent, jnp.arange(entries), jnp.clip(age, 0, entries - 1))
    rows = jnp.ones((entries, len(query), heads), dtype)
    rows = dropped(drop, rows, deterministic, share, axis=2)
    return jnp.take_along_axis(rows, row.T[..., None], axis=0).T
