"""Causal attention over segments of past steps and the present ones, with an optional window."""

from collections.abc import Sequence
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.model.plastic_dense import PlasticDense
from plasticity.steps import EMPTY
from plasticity.types import Activity, Array, DType, FastRead


class KeyValue(NamedTuple):
    """Keys and values of P steps: a segment of the past, or what steps add to it."""

    key: Array  # [P, H, D / H], already rotated if positions are rotary
    value: Array  # [P, H, D / H]
    position: Array  # [P] int32, EMPTY where nothing is stored


def blank(slots: int, heads: int, head_width: int, dtype: DType) -> KeyValue:
    """A segment of `slots` steps that hold nothing."""
    nothing = jnp.zeros((slots, heads, head_width), dtype)
    return KeyValue(nothing, nothing, jnp.full((slots,), EMPTY, jnp.int32))


def rotate(x: Array, position: Array) -> Array:
    """Rotary positions (Su et al. 2021) for x [S, H, W], W even, position [S]."""
    half = x.shape[-1] // 2
    frequency = 10_000.0 ** (-jnp.arange(half, dtype=x.dtype) / half)
    angle = position[:, None, None].astype(x.dtype) * frequency
    first, second = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def visible(query: Array, key: Array, window: int, present: bool, apart: bool) -> Array:
    """Whether queries at positions [S] may see keys at positions [P]: mask [S, P].

    Of the steps before it a query sees all (`window` 0) or the last `window`; and itself, if the
    keys are those of the `present` steps. Of these it sees no other one if they are `apart`. A key
    at or after the query's position among past ones is a slot that a later step of the episode has
    filled.
    """
    age = query[:, None] - key[None, :]
    recent = age <= window if window else True
    if present and apart:
        return jnp.eye(len(key), dtype=bool)
    return (key != EMPTY)[None, :] & (age >= (0 if present else 1)) & recent


class Context(NamedTuple):
    """What a stretch of steps attends to."""

    past: Sequence[KeyValue]  # segments of earlier steps
    present: KeyValue  # the steps themselves, seen causally
    apart: bool = False  # whether each of them sees itself alone


def score(query: Array, position: Array, context: Context, window: int) -> Array:
    """Masked scores [H, S, P] of queries [S, H, W] at positions [S], over all segments joined."""
    # Scores are joined rather than keys, so that no segment is ever copied.
    segments = (*context.past, context.present)
    product = _score_one if len(query) == 1 else partial(jnp.einsum, "shw,phw->hsp")
    scores = jnp.concatenate([product(query, s.key) for s in segments], axis=-1)
    masks = [
        visible(position, s.position, window, s is context.present, context.apart) for s in segments
    ]
    mask = jnp.concatenate(masks, axis=-1)
    return jnp.where(mask, scores * query.shape[-1] ** -0.5, jnp.finfo(scores.dtype).min)


def mix(weights: Array, context: Context) -> Array:
    """Values mixed by weights [H, S, P]: [S, H, W]."""
    start, parts = 0, []
    for segment in (*context.past, context.present):
        stop = start + len(segment.position)
        product = _mix_one if weights.shape[1] == 1 else partial(jnp.einsum, "hsp,phw->shw")
        parts.append(product(weights[..., start:stop], segment.value))
        start = stop
    return reduce(jnp.add, parts)


# One query leaves nothing to share between heads, and a product per head would first bring the
# segment into another order. The segment as it lies, [P, D], serves all heads if each has its own
# query [D], zero outside the head.


def _score_one(query: Array, key: Array) -> Array:
    """Scores [H, 1, P] of a query [1, H, W]."""
    _, heads, width = query.shape
    apart = jnp.eye(heads, dtype=query.dtype)[:, :, None] * query[0]
    return (apart.reshape(heads, heads * width) @ key.reshape(-1, heads * width).T)[:, None]


def _mix_one(weights: Array, value: Array) -> Array:
    """Values mixed by weights [H, 1, P]: [1, H, W]."""
    _, heads, width = value.shape
    mixed = weights[:, 0] @ value.reshape(-1, heads * width)
    own = jnp.eye(heads, dtype=value.dtype)[:, :, None]
    return (mixed.reshape(heads, heads, width) * own).sum(0)[None]


def band(query: Array, present: KeyValue, window: int) -> tuple[Array, KeyValue, KeyValue]:
    """Cuts S steps in blocks of `window`, each with the block before it as its past.

    S * 2 window scores instead of S * S. Returns queries, blocks before and blocks, the number of
    the block leading; the last block is filled up with blanks.
    """
    steps = len(query)
    blocks = -(-steps // window)

    def cut(a: Array, fill: int) -> Array:
        spare = jnp.full((blocks * window - steps, *a.shape[1:]), fill, a.dtype)
        return jnp.concatenate([a, spare]).reshape(blocks, window, *a.shape[1:])

    own = KeyValue(cut(present.key, 0), cut(present.value, 0), cut(present.position, EMPTY))
    before = jax.tree.map(lambda a: jnp.roll(a, 1, axis=0), own)
    # Nothing precedes the first block; blank keys get no weight, as a query always sees itself.
    before = before._replace(position=before.position.at[0].set(EMPTY))
    return cut(query, 0), before, own


class Attention(nn.Module):
    """Multi-head attention of S steps over past segments and, causally, over themselves."""

    heads: int
    window: int
    rotary: bool
    dropout: float
    plastic: bool = False  # whether both projections carry fast weights

    @nn.compact
    def __call__(
        self,
        x: Array,
        past: Sequence[KeyValue],
        position: Array,
        fast: FastRead,
        apart: bool,
        deterministic: bool,
    ) -> tuple[Array, KeyValue, dict[str, Activity]]:
        """x [S, D], position [S] -> mixed [S, D], what to add to the past, activities.

        The steps see each other causally or, if they are `apart`, not at all.
        """
        steps, width = x.shape
        xavier = nn.initializers.xavier_uniform()  # of queries, keys and values stacked
        zeros = nn.initializers.zeros
        project = PlasticDense(3 * width, self.plastic, xavier, zeros, name="query_key_value")
        stacked, activities = project(x, fast)
        query, key, value = jnp.moveaxis(stacked.reshape(steps, 3, self.heads, -1), 1, 0)
        if self.rotary:
            query, key = rotate(query, position), rotate(key, position)
        present = KeyValue(key, value, position)
        drop = nn.Dropout(self.dropout, deterministic=deterministic)

        if self.window < 0:  # a step sees itself alone: a softmax of one score
            mixed = drop(jnp.ones((steps, self.heads, 1), value.dtype)) * value
        elif self.window > 0 and steps > 2 * self.window and not past:
            queries, before, own = band(query, present, self.window)

            def weigh(query: Array, before: KeyValue, own: KeyValue) -> Array:
                return score(query, own.position, Context([before], own), self.window)

            weights = drop(jax.nn.softmax(jax.vmap(weigh)(queries, before, own)))
            mixed = jax.vmap(lambda w, b, o: mix(w, Context([b], o)))(weights, before, own)
            mixed = mixed.reshape(-1, self.heads, width // self.heads)[:steps]
        else:
            seen = [segment for segment in past if len(segment.position)]
            context = Context(seen, present, apart)
            mixed = mix(drop(jax.nn.softmax(score(query, position, context, self.window))), context)
        out = PlasticDense(width, self.plastic, name="out")
        mixed, active_out = out(mixed.reshape(steps, width), fast)
        return mixed, present, activities | active_out
