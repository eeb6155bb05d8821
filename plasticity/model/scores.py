"""Scores of queries with the keys of several segments, and the sums of values that they weight.

Source: Vaswani et al. 2017 (arXiv 1706.03762).
"""

import itertools
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.registry import exportable
from plasticity.steps import ALWAYS, EMPTY
from plasticity.types import Array, DType


class KeyValue(NamedTuple):
    """Keys and values of P steps: a segment of the past, or an addition to it."""

    key: Array  # [P, H, D / H], rotated if positions are rotary
    value: Array  # [P, H, D / H]
    position: Array  # [P] int32, EMPTY for a blank entry


exportable(KeyValue, module="plasticity.model.attention")


def blank(slots: int, heads: int, head_width: int, dtype: DType) -> KeyValue:
    """Returns a segment of `slots` blank entries."""
    nothing = jnp.zeros((slots, heads, head_width), dtype)
    return KeyValue(nothing, nothing, jnp.full((slots,), EMPTY, jnp.int32))


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
    scores = jnp.concatenate([jnp.einsum("shw,phw->hsp", query, s.key) for s in segments], -1)
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
        parts.append(jnp.einsum("hsp,phw->shw", weights[..., start:stop], segment.value))
        start = stop
    return reduce(jnp.add, parts)


def attend_once(
    query: Array, position: Array, context: Context, window: int, factors: Array
) -> Array:
    """Returns `mix` of the softmax of `score`, for one query [1, H, W] at position [1]: [1, H, W].

    A step of a loop is bound by the number of its operations. So neither segments nor their scores
    are joined, and the softmax divides the sum of values, not the weights.

    Args:
      query, position: of the step.
      context: what it attends to.
      window: number of earlier steps; 0: all.
      factors: [H, 1, P] of weights, over all segments: dropout.
    """
    segments = (*context.past, context.present)
    scores = []
    for segment in segments:
        found = (query * segment.key).sum(-1).T * query.shape[-1] ** -0.5  # [H, P]
        if segment is not context.present:  # to itself a step attends always
            seen = visible(position, segment.position, window, False, context.independent)
            found = jnp.where(seen, found, jnp.finfo(found.dtype).min)
        scores.append(found)
    most = jax.lax.stop_gradient(reduce(jnp.maximum, [s.max(1) for s in scores]))[:, None]
    weights = [jnp.exp(s - most) for s in scores]
    total = reduce(jnp.add, [w.sum(1) for w in weights])
    ends = list(itertools.accumulate(s.shape[1] for s in scores))[:-1]
    weights = [w * f for w, f in zip(weights, jnp.split(factors[:, 0], ends, 1), strict=True)]
    sums = [(w.T[..., None] * s.value).sum(0) for w, s in zip(weights, segments, strict=True)]
    return (reduce(jnp.add, sums) / total[:, None])[None]


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
