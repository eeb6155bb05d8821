"""Causal attention over segments of past steps and the present ones, with an optional window.

Source: Vaswani et al. 2017 (arXiv 1706.03762).
"""

from collections.abc import Sequence
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import FastRead
from plasticity.model.dropout import dropped
from plasticity.model.plastic_dense import PlasticDense
from plasticity.model.positions import rotate
from plasticity.registry import exportable
from plasticity.shares import STACKS, Share
from plasticity.steps import ALWAYS, EMPTY
from plasticity.types import Activity, Array, DType


class KeyValue(NamedTuple):
    """Keys and values of P steps: a segment of the past, or an addition to it."""

    key: Array  # [P, H, D / H], rotated if positions are rotary
    value: Array  # [P, H, D / H]
    position: Array  # [P] int32, EMPTY for a blank entry


exportable(KeyValue)


def blank(slots: int, heads: int, head_width: int, dtype: DType) -> KeyValue:
    """Returns a segment of `slots` blank entries."""
    nothing = jnp.zeros((slots, heads, head_width), dtype)
    return KeyValue(nothing, nothing, jnp.full((slots,), EMPTY, jnp.int32))


def own_heads(heads: int, share: Share | None) -> int:
    """Returns how many of the heads a device has."""
    return heads if share is None else heads // share.devices


def visible(query: Array, key: Array, window: int, present: bool, independent: bool) -> Array:
    """Returns the mask [S, P] of the keys that each query attends to.

    A query attends to itself and to all earlier steps (`window` 0) or the last `window` of them. A
    past key at its own position or later is ignored: in the backward pass of `append_scan`, the
    past holds the entries of later steps, too.

    Args:
      query, key: positions [S] and [P].
      window: number of earlier steps; 0: all.
      present: whether the keys are those of the queries' own steps.
      independent: whether each of these steps attends to itself only.
    """
    age = query[:, None] - key[None, :]
    recent = age <= window if window else True
    if present and independent:
        return jnp.eye(len(key), dtype=bool)
    seen = (key != EMPTY)[None, :] & (age >= (0 if present else 1)) & recent
    return seen | (key == ALWAYS)[None, :]


class Context(NamedTuple):
    """The keys and values that S steps attend to."""

    past: Sequence[KeyValue]  # segments of earlier steps
    present: KeyValue  # of the steps themselves
    independent: bool = False  # whether each of them attends to itself only


def score(query: Array, position: Array, context: Context, window: int) -> Array:
    """Returns masked scores [H, S, P] of queries [S, H, W] at positions [S], over all segments."""
    # Concatenating scores, not keys, copies no segment.
    segments = (*context.past, context.present)
    product = _score_one if len(query) == 1 else partial(jnp.einsum, "shw,phw->hsp")
    scores = jnp.concatenate([product(query, s.key) for s in segments], axis=-1)
    masks = [
        visible(position, s.position, window, s is context.present, context.independent)
        for s in segments
    ]
    mask = jnp.concatenate(masks, axis=-1)
    return jnp.where(mask, scores * query.shape[-1] ** -0.5, jnp.finfo(scores.dtype).min)


def mix(weights: Array, context: Context) -> Array:
    """Returns the sums of values, weighted by [H, S, P], over all segments: [S, H, W]."""
    start, parts = 0, []
    for segment in (*context.past, context.present):
        stop = start + len(segment.position)
        product = _mix_one if weights.shape[1] == 1 else partial(jnp.einsum, "hsp,phw->shw")
        parts.append(product(weights[..., start:stop], segment.value))
        start = stop
    return reduce(jnp.add, parts)


# With one query, a product per head would first transpose the whole segment to [H, P, W]. A sum of
# elementwise products reads the segment once, as it is stored.


def _score_one(query: Array, key: Array) -> Array:
    """Scores [H, 1, P] of one query [1, H, W] with keys [P, H, W]."""
    return (query * key).sum(-1).T[:, None]


def _mix_one(weights: Array, value: Array) -> Array:
    """Weighted sum [1, H, W] of values [P, H, W], by weights [H, 1, P]."""
    return (weights[:, 0].T[..., None] * value).sum(0, keepdims=True)


def band(
    query: Array, past: KeyValue, present: KeyValue, window: int
) -> tuple[Array, KeyValue, KeyValue]:
    """Cuts S steps into blocks of `window` steps, each with the previous block as its past.

    That takes S * 2 window scores instead of S * S. Example, S = 5 and window = 2: the blocks
    (0, 1), (2, 3), (4, blank) with the pasts `past`, which has `window` entries, (0, 1), (2, 3).

    Args:
      query: [S, H, W].
      past: the `window` entries before the first step.
      present: keys and values of the S steps.
      window: steps of a block, at least 1.

    Returns:
      Queries, keys and values of the previous block, keys and values of the block itself; all
      leaves [blocks, window, ...].
    """
    steps = len(query)
    blocks = -(-steps // window)

    def cut(a: Array, fill: int) -> Array:
        spare = jnp.full((blocks * window - steps, *a.shape[1:]), fill, a.dtype)
        return jnp.concatenate([a, spare]).reshape(blocks, window, *a.shape[1:])

    block = KeyValue(cut(present.key, 0), cut(present.value, 0), cut(present.position, EMPTY))
    # No row of scores is fully masked: a query attends to itself.
    previous = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), past, block)
    return cut(query, 0), previous, block


class Attention(nn.Module):
    """Multi-head attention of S steps over past segments and, causally, over themselves.

    Attributes:
      heads: H.
      window: see `Backbone.window`.
      rotary: whether positions are rotary.
      dropout: rate, applied to the weights.
      plastic: whether both projections carry fast weights.
      persistent: learned keys and values that every step attends to.
      share: of the module of a device that has a part of the heads; None: it has all H.
    """

    heads: int
    window: int
    rotary: bool
    dropout: float
    plastic: bool = False
    persistent: int = 0
    share: Share | None = None

    @nn.compact
    def __call__(
        self,
        x: Array,
        past: Sequence[KeyValue],
        position: Array,
        fast: FastRead,
        independent: bool,
        deterministic: bool,
    ) -> tuple[Array, KeyValue, dict[str, Activity]]:
        """Maps x [S, D] at positions [S] to [S, D].

        Args:
          x, position: the steps.
          past: segments of earlier steps.
          fast: fast parts of the projections, if they are plastic.
          independent: whether each step ignores the other present ones.
          deterministic: whether there is no dropout.

        Returns:
          The result, the entry that the steps add to the past, and activities of plastic layers.
        """
        steps, width = x.shape
        heads, head_width = own_heads(self.heads, self.share), width // self.heads
        dense = partial(PlasticDense, plastic=self.plastic, share=self.share)
        project = dense(
            STACKS * heads * head_width,
            kernel_init=nn.initializers.xavier_uniform(),  # of queries, keys and values stacked
            bias_init=nn.initializers.zeros,
            side="outputs",
            name="query_key_value",
        )
        stacked, activities = project(x, fast)
        query, key, value = jnp.moveaxis(stacked.reshape(steps, STACKS, heads, -1), 1, 0)
        if self.rotary:
            query, key = rotate(query, position), rotate(key, position)
        present = KeyValue(key, value, position)
        segments = [segment for segment in past if len(segment.position)]
        mixed = self._mixed(query, present, segments, independent, deterministic)
        out = dense(width, side="inputs", name="out")
        mixed, active_out = out(mixed.reshape(steps, heads * head_width), fast)
        return mixed, present, activities | active_out

    def _mixed(
        self,
        query: Array,
        present: KeyValue,
        past: Sequence[KeyValue],
        independent: bool,
        deterministic: bool,
    ) -> Array:
        """Sums of values [S, H, W], for queries [S, H, W]; no segment of the past is empty."""
        steps, heads, head_width = query.shape
        window, dtype = self.window, query.dtype
        drop = partial(
            dropped, nn.Dropout(self.dropout), deterministic=deterministic, share=self.share
        )
        lengths = [len(segment.position) for segment in past]
        always = self._always(head_width)
        if window < 0:  # a step attends to itself only: the softmax of one score is 1
            return drop(jnp.ones((steps, heads, 1), dtype), axis=1) * present.value
        if not 0 < 2 * window < steps or independent or lengths not in ([], [window]):
            context = Context([*always, *past], present, independent)
            scores = score(query, present.position, context, window)
            return mix(drop(jax.nn.softmax(scores), axis=0), context)

        before = past[0] if past else blank(window, heads, head_width, dtype)
        queries, previous, block = band(query, before, present, window)

        def block_scores(query: Array, previous: KeyValue, block: KeyValue) -> Array:
            return score(query, block.position, Context([*always, previous], block), window)

        scores = jax.vmap(block_scores)(queries, previous, block)
        weights = drop(jax.nn.softmax(scores), axis=1)
        mixed = jax.vmap(lambda w, p, b: mix(w, Context([*always, p], b)))(weights, previous, block)
        return mixed.reshape(-1, heads, head_width)[:steps]

    def _always(self, head_width: int) -> list[KeyValue]:
        """The persistent keys and values, if there are any."""
        if not self.persistent:
            return []
        shape = (2, self.persistent, self.heads, head_width)
        key, value = self.param("persistent", nn.initializers.normal(0.02), shape)
        return [KeyValue(key, value, jnp.full((self.persistent,), ALWAYS, jnp.int32))]
