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

Maps = tuple[tuple[Array, ...], ...]  # K x K arrays [..., L], of part k in part j


class Span(NamedTuple):
    """What B spans of n steps each do to the K parts of the state. B does not count episodes here.

    Parts are entries of tuples, not an axis: it would have size 1 for most rules, and XLA crashes
    on CPUs where an array of seven axes, one of them so small, is multiplied and summed (jaxlib
    0.10.2). Seeds, episodes and heads take three of the seven.
    """

    passed: Maps  # [B, L] each, of part k at the start in part j at the end
    reads: tuple[Array, ...]  # [k]: [B, n, L], of part k at the start in the trace after each step
    wrote: tuple[Array, ...]  # [j]: [B, n, L], of what each step wrote in part j at the end


def make_spans(keep: Array, momentum: Array | None, valid: Array | None = None) -> list[Span]:
    """Spans of 1, 2, 4, ... steps; the last is the whole chunk, padded to a power of two.

    For keep [C, L] and momentum [C]. Padding, and steps that are not `valid` [C], change nothing.
    """
    passed: Maps = ((keep,),)
    if momentum is not None:
        slower = jnp.broadcast_to(momentum[:, None], keep.shape)
        passed = ((keep, slower), (jnp.zeros_like(keep), slower))

    def filled(a: Array, idle: float) -> Array:
        if valid is not None:
            a = jnp.where(valid[:, None], a, idle)
        return jnp.pad(a, [(0, fill(len(a))), (0, 0)], constant_values=idle)

    passed = tuple(tuple(filled(a, j == k) for k, a in enumerate(r)) for j, r in enumerate(passed))
    reads = tuple(a[:, None] for a in passed[0])
    spans = [Span(passed, reads, tuple(jnp.ones_like(a) for a in reads))]
    while len(spans[-1].reads[0]) > 1:
        spans.append(_joined(*(jax.tree.map(half, spans[-1]) for half in (_earlier, _later))))
    return spans


def _earlier(a: Array) -> Array:
    """The first of every two spans, or blocks."""
    return a[0::2]


def _later(a: Array) -> Array:
    """The second of every two spans, or blocks."""
    return a[1::2]


def fill(steps: int) -> int:
    """How many steps are missing to the next power of two."""
    return (1 << (steps - 1).bit_length()) - steps


def _joined(first: Span, second: Span) -> Span:
    """Each span with the one that follows it."""
    parts = range(len(first.reads))
    after = tuple(
        total(second.reads[j] * first.passed[j][k][:, None] for j in parts) for k in parts
    )
    wrote = tuple(
        total(first.wrote[k] * second.passed[j][k][:, None] for k in parts) for j in parts
    )
    return Span(
        composed(second.passed, first.passed),
        tuple(jnp.concatenate(two, 1) for two in zip(first.reads, after, strict=True)),
        tuple(jnp.concatenate(two, 1) for two in zip(wrote, second.wrote, strict=True)),
    )


def composed(second: Maps, first: Maps) -> Maps:
    """What the first map, then the second do to the parts: a product of matrices [K][K]."""
    parts = range(len(first))
    return tuple(
        tuple(total(second[j][k] * first[k][p] for k in parts) for p in parts) for j in parts
    )


def total(parts: Iterable[Array]) -> Array:
    """The sum over parts of the state."""
    return functools.reduce(jnp.add, parts)


def _reads(span: Span, after: bool) -> tuple[Array, ...]:
    """`Span.reads`, or those of the trace before each step."""
    if after:
        return span.reads
    first = [jnp.full_like(a[:, :1], k == 0) for k, a in enumerate(span.reads)]
    return tuple(
        jnp.concatenate([one, a[:, :-1]], 1) for one, a in zip(first, span.reads, strict=True)
    )


def products(spans: list[Span], x: Array, right: Array, after: bool) -> Array:
    """Coefficients [C, C, M, N] of rate_s left_sn in W_t x_tm, or W_{t-1} x_tm if not `after`.

    For x [C, M, I] and right [C, N, I].
    """
    steps, more = len(x), [(0, fill(len(x))), (0, 0), (0, 0)]
    if not x.shape[1]:  # such as sums, whose writes read nothing
        return jnp.zeros((steps, steps, 0, right.shape[1]), x.dtype)
    if spans[0].reads[0].shape[-1] == 1:
        kept, terms = mix(spans, steps, after), range(right.shape[1])
        rows = [[kept * (x[:, m] @ right[:, n].T) for n in terms] for m in range(x.shape[1])]
        return jnp.stack([jnp.stack(row, -1) for row in rows], 2)
    x, right = jnp.pad(x, more), jnp.pad(right, more)
    found = _lower(spans, x, right, after).reshape(*x.shape[:2], *right.shape[:2])
    return found.swapaxes(1, 2)[:steps, :steps]


def _lower(spans: list[Span], x: Array, right: Array, after: bool) -> Array:
    """`products` [C M, C N] for x [C, M, L] and right [C, N, L], from the diagonal outwards."""
    blocks = x @ right.swapaxes(1, 2)
    blocks = blocks if after else jnp.zeros_like(blocks)
    for span in spans[:-1]:
        count, size = span.reads[0].shape[:2]
        x, right = (a.reshape(count, size, *a.shape[-2:]) for a in (x, right))
        later, earlier = _later(x), _earlier(right)
        corner = total(
            _scaled(_later(read), later) @ _scaled(_earlier(wrote), earlier).swapaxes(1, 2)
            for read, wrote in zip(_reads(span, after), span.wrote, strict=True)
        )
        upper = jnp.concatenate([_earlier(blocks), jnp.zeros_like(corner)], 2)
        blocks = jnp.concatenate([upper, jnp.concatenate([corner, _later(blocks)], 2)], 1)
    return blocks[0]


def _scaled(factors: Array, vectors: Array) -> Array:
    """[B, n M, L]: vectors [B, n, M, L] times factors [B, n, L], without a sum in its gradient."""
    found = jnp.stack([factors * vectors[:, :, m] for m in range(vectors.shape[2])], 2)
    return found.reshape(len(found), -1, found.shape[-1])


def mix(spans: list[Span], steps: int, after: bool) -> Array:
    """G_ts [C, C] for keeps that are one number per step: of write s after step t, or before it."""
    one = jnp.ones((steps + fill(steps), 1, 1), spans[0].wrote[0].dtype)
    return _lower(spans, one, one, after)[:steps, :steps]


def spread(spans: list[Span], given: Array, right: Array, after: bool) -> Array:
    """sum_sn given_tsn G_ts right_sn, [C, I], for given [C, C, N] and right [C, N, I]."""
    steps, extra, terms = len(right), fill(len(right)), right.shape[1]
    given = jnp.pad(given, [(0, extra), (0, extra), (0, 0)])
    right = jnp.pad(right, [(0, extra), (0, 0), (0, 0)])
    found = jnp.einsum("ttn,tni->ti", given, right) * float(after)
    for span in spans[:-1]:
        count, size = span.reads[0].shape[:2]
        cut = corners(given.reshape(len(given), -1), count // 2, terms)
        earlier = _earlier(right.reshape(count, size, terms, -1))
        added = total(
            _later(read) * (cut @ _scaled(_earlier(wrote), earlier))
            for read, wrote in zip(_reads(span, after), span.wrote, strict=True)
        )
        found = found.reshape(count, size, -1).at[1::2].add(added).reshape(len(given), -1)
    return found[:steps]


def corners(matrix: Array, pairs: int, terms: int = 1) -> Array:
    """[pairs, n, n N], the blocks below the diagonal: later half of rows, earlier half of columns.

    For [C, C N] with C = 2 n pairs. Example, pairs 2 of 2 steps each, N 1: entries [1, 0], [3, 2].
    """
    size = len(matrix) // pairs
    blocks = matrix.reshape(pairs, size, pairs, size * terms)
    each = jnp.arange(pairs)
    return blocks[each, :, each][:, size // 2 :, : size * terms // 2]
