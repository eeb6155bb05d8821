"""Positions of steps: rotary (Su et al. 2021, arXiv 2104.09864) or learned."""

import operator

import jax.numpy as jnp

from plasticity.types import Array


def rotate(x: Array, position: Array) -> Array:
    """Rotates x [S, H, W], W even, by its position [S] (Su et al. 2021)."""
    half = x.shape[-1] // 2
    dtype = jnp.promote_types(x.dtype, jnp.float32)  # in bfloat16, 257 is 256
    frequency = 10_000.0 ** (-jnp.arange(half, dtype=dtype) / half)
    angle = position[:, None, None].astype(dtype) * frequency
    first, second = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def learned(table: Array, position: Array, first: Array | int, further: int) -> Array:
    """Embeddings [S, D] of positions [S], the last of which is `first` + `further`.

    Raises:
      ValueError: the table [P, D] ends before. Where `first` is traced and no error can be raised,
        the embeddings of such positions are NaN.
    """
    end = len(table) - 1
    try:
        last = operator.index(first) + further
    except TypeError:  # traced
        return jnp.where(position[:, None] <= end, table[position], jnp.nan)
    if last > end:
        raise ValueError(
            f"position {last} should be at most {end}, the last in the table of "
            "model.position='learned'; 'none' and 'rotary' have no last position"
        )
    return table[position]
