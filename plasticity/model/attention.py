"""Causal attention over cached past steps and the present ones, with an optional window."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.model.linear import linear
from plasticity.types import Array, DType

EMPTY = -1  # position of a cache slot that holds nothing yet


class KeyValue(NamedTuple):
    """Keys and values of P steps; serves as cache and as what a step adds to it."""

    key: Array  # [P, H, D / H], already rotated if positions are rotary
    value: Array  # [P, H, D / H]
    position: Array  # [P] int32, EMPTY where the slot is unused


def empty_cache(slots: int, heads: int, head_width: int, dtype: DType) -> KeyValue:
    """A cache of `slots` past steps."""
    nothing = jnp.zeros((slots, heads, head_width), dtype)
    return KeyValue(nothing, nothing, jnp.full((slots,), EMPTY, jnp.int32))


def extend_cache(cache: KeyValue, entry: KeyValue) -> KeyValue:
    """Stores `entry` [S, ...], at most as many steps as there are slots, over the oldest steps."""
    slots = entry.position % cache.position.shape[0]
    return jax.tree.map(lambda old, new: old.at[slots].set(new), cache, entry)


def rotate(x: Array, position: Array) -> Array:
    """Rotary positions (Su et al. 2021) for x [S, H, W], W even, position [S]."""
    half = x.shape[-1] // 2
    frequency = 10_000.0 ** (-jnp.arange(half, dtype=x.dtype) / half)
    angle = position[:, None, None].astype(x.dtype) * frequency
    first, second = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def visible(query: Array, key: Array, window: int) -> Array:
    """Whether queries at positions [S] may see keys at positions [P]: mask [S, P].

    A query sees itself and, of the steps before it, all (`window` 0) or the last `window`.
    """
    age = query[:, None] - key[None, :]
    recent = age <= window if window else True
    return (key != EMPTY)[None, :] & (age >= 0) & recent


class Attention(nn.Module):
    """Multi-head attention of S steps over P cached ones and, causally, over themselves."""

    heads: int
    window: int
    rotary: bool
    dropout: float

    @nn.compact
    def __call__(
        self, x: Array, past: KeyValue, position: Array, deterministic: bool
    ) -> tuple[Array, KeyValue]:
        """x [S, D], position [S] -> mixed [S, D], and the entry to add to the cache."""
        steps, width = x.shape
        xavier = nn.initializers.xavier_uniform()  # of queries, keys and values stacked
        stacked = nn.Dense(3 * width, kernel_init=xavier, name="query_key_value")(x)
        query, key, value = jnp.moveaxis(stacked.reshape(steps, 3, self.heads, -1), 1, 0)
        if self.rotary:
            query, key = rotate(query, position), rotate(key, position)

        # Scores are joined rather than keys, so that the cache is never copied.
        scores = jnp.concatenate(
            [jnp.einsum("shw,phw->hsp", query, k) for k in (past.key, key)], axis=-1
        )
        mask = jnp.concatenate(
            [visible(position, p, self.window) for p in (past.position, position)], axis=-1
        )
        scores = jnp.where(mask, scores * query.shape[-1] ** -0.5, jnp.finfo(scores.dtype).min)
        weights = nn.Dropout(self.dropout)(jax.nn.softmax(scores), deterministic=deterministic)

        slots = past.position.shape[0]
        mixed = jnp.einsum("hsp,phw->shw", weights[..., :slots], past.value)
        mixed += jnp.einsum("hsp,phw->shw", weights[..., slots:], value)
        return linear(width, width, "out")(mixed.reshape(steps, width)), KeyValue(
            key, value, position
        )
