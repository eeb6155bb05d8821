"""Products of keeps over the steps of a chunk, and what they leave of its writes.

G_ts is the product of the keeps after step s up to step t: what is left of write s after step t.
Products are never quotients, so that a keep may be 0 or negative. They are found by doubling: where
a span of steps is cut in halves, G_ts across the cut is what the later half leaves of its start at
t, times what the earlier one leaves of step s at its end. With keeps per input that is one matrix
product per cut, and no array [C, C, I] is formed. With momentum the state has K = 2 parts, the
trace and the sum s, and a step multiplies them by [[keep, momentum], [0, momentum]].

Axis letters: t and s steps of the chunk (C), m reads of a step, n terms of a write, i inputs, j and
k parts of the state. L is 1, or I if keeps are per input.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.types import Array


class Span(NamedTuple):
    """What B spans of n steps each do to the K parts of the state."""

    passed: Array  # [B, K, K, L], of part k at the start of the span in part j at its end
    reads: Array  # [B, n, K, L], of part k at the start in the trace after each step
    wrote: Array  # [B, n, K, L], of what each step wrote in part j at the end


def make_spans(keep: Array, momentum: Array | None, valid: Array | None = None) -> list[Span]:
    """Spans of 1, 2, 4, ... steps, the last of all C; steps that fill it up do nothing.

    For keep [C, L] and momentum [C]. Steps that are not `valid` [C] do nothing either.
    """
    rows = [[keep]]
    if momentum is not None:
        slower = jnp.broadcast_to(momentum[:, None], keep.shape)
        rows = [[keep, slower], [jnp.zeros_like(keep), slower]]
    passed = jnp.stack([jnp.stack(row, 1) for row in rows], 1)
    idle = jnp.eye(len(rows), dtype=keep.dtype)[None, :, :, None]
    if valid is not None:
        passed = jnp.where(valid[:, None, None, None], passed, idle)
    idle = jnp.broadcast_to(idle, (fill(len(keep)), *passed.shape[1:]))
    passed = jnp.concatenate([passed, idle])
    reads = passed[:, None, 0]
    spans = [Span(passed, reads, jnp.ones_like(reads))]
    while len(spans[-1].passed) > 1:
        spans.append(_joined(*(jax.tree.map(half, spans[-1]) for half in (_earlier, _later))))
    return spans


def _earlier(a: Array) -> Array:
    """The first of every two spans, or blocks."""
    return a.reshape(len(a) // 2, 2, *a.shape[1:])[:, 0]


def _later(a: Array) -> Array:
    """The second."""
    return a.reshape(len(a) // 2, 2, *a.shape[1:])[:, 1]


def fill(steps: int) -> int:
    """What is missing to the next power of two."""
    return (1 << (steps - 1).bit_length()) - steps


def _joined(first: Span, second: Span) -> Span:
    """Each span with the one that follows it."""
    parts = range(first.passed.shape[1])

    def after_first(later: Array) -> Array:
        return total(later[:, :, k, None] * first.passed[:, None, k] for k in parts)

    wrote = total(first.wrote[:, :, k, None] * second.passed[:, None, :, k] for k in parts)
    return Span(
        after_first(second.passed),
        jnp.concatenate([first.reads, after_first(second.reads)], 1),
        jnp.concatenate([wrote, second.wrote], 1),
    )


def total(parts: Iterable[Array]) -> Array:
    """The sum over parts of the state. As an axis of size 1 to be reduced it would not be free."""
    return functools.reduce(jnp.add, parts)


def before(reads: Array) -> Array:
    """[B, n, K, L], of the trace before each step, from those of the trace after it."""
    start = jnp.zeros_like(reads[:, :1]).at[:, :, 0].set(1)
    return jnp.concatenate([start, reads[:, :-1]], 1)


def products(spans: list[Span], x: Array, right: Array, after: bool) -> Array:
    """Coefficients [C, C, M, N] of rate_s left_sn in W_t x_tm, or W_{t-1} x_tm if not `after`.

    For x [C, M, I] and right [C, N, I].
    """
    steps, more = len(x), [(0, fill(len(x))), (0, 0), (0, 0)]
    if spans[0].reads.shape[-1] == 1:
        kept = mix(spans, steps, after)[:, :, None, None]
        return jnp.einsum("tmi,sni->tsmn", x, right) * kept
    return _lower(spans, jnp.pad(x, more), jnp.pad(right, more), after)[:steps, :steps]


def _lower(spans: list[Span], x: Array, right: Array, after: bool) -> Array:
    """`products` for x [C, M, L] and right [C, N, L], from the diagonal outwards."""
    blocks = jnp.einsum("tmi,tni->tmn", x, right)[:, None, None]
    blocks = blocks if after else jnp.zeros_like(blocks)
    for span in spans[:-1]:
        count, size, *_ = span.reads.shape
        reads = span.reads if after else before(span.reads)
        x, right = (a.reshape(count, size, *a.shape[-2:]) for a in (x, right))
        later = _later(reads)[:, :, None] * _later(x)[:, :, :, None]
        earlier = _earlier(span.wrote)[:, :, None] * _earlier(right)[:, :, :, None]
        corner = jnp.einsum("btmki,bsnki->btsmn", later, earlier)
        upper = jnp.concatenate([_earlier(blocks), jnp.zeros_like(corner)], 2)
        blocks = jnp.concatenate([upper, jnp.concatenate([corner, _later(blocks)], 2)], 1)
    return blocks[0]


def mix(spans: list[Span], steps: int, after: bool) -> Array:
    """G_ts [C, C] for keeps that are one number per step: of write s after step t, or before it."""
    one = jnp.ones((steps + fill(steps), 1, 1), spans[0].reads.dtype)
    return _lower(spans, one, one, after)[:steps, :steps, 0, 0]


def spread(spans: list[Span], given: Array, right: Array, after: bool) -> Array:
    """sum_sn given_tsn G_ts right_sn, [C, I], for given [C, C, N] and right [C, N, I]."""
    steps, extra = len(right), fill(len(right))
    given = jnp.pad(given, [(0, extra), (0, extra), (0, 0)])
    right = jnp.pad(right, [(0, extra), (0, 0), (0, 0)])
    found = jnp.einsum("ttn,tni->ti", given, right) * float(after)
    for span in spans[:-1]:
        count, size, *_ = span.reads.shape
        reads = span.reads if after else before(span.reads)
        pairs, each = count // 2, jnp.arange(count // 2)
        cut = given.reshape(pairs, 2, size, pairs, 2, size, -1)[each, 1, :, each, 0]
        earlier = _earlier(right.reshape(count, size, *right.shape[1:]))
        earlier = _earlier(span.wrote)[:, :, :, None] * earlier[:, :, None]
        added = total(
            _later(reads)[:, :, k] * jnp.einsum("btsn,bsni->bti", cut, earlier[:, :, k])
            for k in range(reads.shape[2])
        )
        found = found.reshape(pairs, 2, size, -1).at[:, 1].add(added).reshape(len(given), -1)
    return found[:steps]
