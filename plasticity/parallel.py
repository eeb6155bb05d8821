"""A chunk of steps of a memory site at once, for rules that are linear in the state.

A rule with `Site.linear` writes

  left_t = u_t + sum_m f_tm W_{t-1} a_tm,    W_t = keep_t W_{t-1} + rate_t left_t right_t^T

where u, f and the addresses a do not depend on the state: they are found by calling `Site.write`
with a `read` that records its argument, and by its derivative. For the delta rule u is the value,
a the key and f = -1. With the state W_0 before the chunk, the product b_t of all keeps up to step
t, and the product G_ts of those after step s up to step t, the lefts of a chunk solve one unit
lower triangular system,

  left_t - sum_{s<t} f_t G_{t-1,s} rate_s (right_s . a_t) left_s = u_t + f_t b_{t-1} W_0 a_t

and all answers and the next state are matrix products of them. Example, the delta rule with keep 1
and rate 1: left_1 = v_1 - W_0 k_1 and left_2 = v_2 - W_0 k_2 - (k_1 . k_2) left_1, which is
v_2 - W_1 k_2.

Keeps per output are not for this module: each output would have a triangle of its own, and forming
it takes longer than to go step by step. Products of keeps are never quotients, so that a keep may
be 0 or negative. They are found by doubling: where a span of steps is cut in halves, G_ts across
the cut is what the later half leaves of its start at t, times what the earlier one leaves of step s
at its end. With keeps per input that is one matrix product per cut, and no array [C, C, I] is
formed. With momentum the state has K = 2 parts, the trace and the sum s, and a step multiplies them
by [[keep, momentum], [0, momentum]].

Axis letters: t and s steps of the chunk (C), m reads of a step, n terms of a write, i inputs, o
outputs, j and k parts of the state. L is 1, or I if keeps are per input.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from plasticity.memory.contract import check_write
from plasticity.memory.dense import TraceMatrix
from plasticity.types import Array, Form, Site, Token, Write


class _Span(NamedTuple):
    """What B spans of n steps each do to the K parts of the state."""

    passed: Array  # [B, K, K, L], of part k at the start of the span in part j at its end
    reads: Array  # [B, n, K, L], of part k at the start in the trace after each step
    wrote: Array  # [B, n, K, L], of what each step wrote in part j at the end


class Plan(NamedTuple):
    """All of a chunk that does not depend on the state before it."""

    tokens: Token  # [C, ...], prepared
    addresses: Array  # a [C, M, I]
    factors: Array  # f [C, M, N]
    write: Write  # left is u [C, N, O]; right [C, N, I]
    chunk: _Span  # the chunk as one span, B = 1
    system: Array  # [C N, C N], of each left in each later one: strictly lower triangular
    answered: Array  # [C, C, N], of rate_s left_sn in answer t


def plan_chunk(site: Site, form: Form, tokens: Token) -> Plan:
    """Plans C steps: tokens [C, ...]."""
    tokens = jax.vmap(site.prepare)(tokens)
    addresses, factors, write = jax.vmap(functools.partial(_affine, site, form))(tokens)
    steps, terms, _ = write.left.shape
    spans = _spans(write.keep.reshape(steps, -1), write.momentum)
    recalled = _products(spans, addresses, write.right, after=False)
    system = jnp.einsum("tmn,tsmp,s->tnsp", factors, recalled, write.rate)
    system = system.reshape(steps * terms, steps * terms)
    after = site.order == "read_after_write"
    answered = _products(spans, tokens.query[:, None], write.right, after)[:, :, 0]
    passed, reads, wrote = spans[-1]
    chunk = _Span(passed, reads[:, :steps], wrote[:, :steps])
    return Plan(tokens, addresses, factors, write, chunk, system, answered)


def run_chunk(site: Site, state: TraceMatrix, plan: Plan) -> tuple[TraceMatrix, Array]:
    """The state after C steps, and their answers [C, O]. See `plasticity.associate`."""
    reads = plan.chunk.reads
    before = _before(reads)
    left = _solve(plan, _from_start(before[0], state, plan.addresses))
    written = plan.write.rate[:, None, None] * left
    seen = reads if site.order == "read_after_write" else before
    answers = _from_start(seen[0], state, plan.tokens.query[:, None])[:, 0]
    answers += jnp.einsum("tsn,sno->to", plan.answered, written)
    return _next(plan, state, written), jax.vmap(
        lambda token, o: site.answer(token, lambda query: o)
    )(plan.tokens, answers)


def _affine(site: Site, form: Form, token: Token) -> tuple[Array, Array, Write]:
    """Addresses, factors and u of one step: by a `read` that records, and by derivative."""
    addresses = []
    nothing = jnp.zeros_like(token.value)

    def record(x: Array) -> Array:
        addresses.append(x)
        return nothing

    write = site.write(token, record)
    check_write(form, write, len(token.value), len(token.key))

    def left(*recalled: Array) -> Array:
        values = iter(recalled)
        return jnp.atleast_2d(site.write(token, lambda x: next(values)).left)

    zeros = (nothing,) * len(addresses)
    ones = [tuple(jnp.full_like(z, i == m) for i, z in enumerate(zeros)) for m in range(len(zeros))]
    factors = [jax.jvp(left, zeros, tangent)[1][:, 0] for tangent in ones]  # alike for all outputs
    u, right = jnp.atleast_2d(write.left), jnp.atleast_2d(write.right)
    return (
        jnp.stack(addresses) if addresses else jnp.zeros((0, *token.key.shape), u.dtype),
        jnp.stack(factors) if factors else jnp.zeros((0, len(u)), u.dtype),
        write._replace(left=u, right=right),
    )


def _spans(keep: Array, momentum: Array | None) -> list[_Span]:
    """Spans of 1, 2, 4, ... steps, the last of all C; steps that fill it up do nothing.

    For keep [C, L] and momentum [C].
    """
    rows = [[keep]]
    if momentum is not None:
        slower = jnp.broadcast_to(momentum[:, None], keep.shape)
        rows = [[keep, slower], [jnp.zeros_like(keep), slower]]
    passed = jnp.stack([jnp.stack(row, 1) for row in rows], 1)
    idle = jnp.eye(len(rows), dtype=keep.dtype)[None, :, :, None]
    idle = jnp.broadcast_to(idle, (_fill(len(keep)), *passed.shape[1:]))
    passed = jnp.concatenate([passed, idle])
    reads = passed[:, None, 0]
    spans = [_Span(passed, reads, jnp.ones_like(reads))]
    while len(spans[-1].passed) > 1:
        spans.append(_joined(*(jax.tree.map(half, spans[-1]) for half in (_earlier, _later))))
    return spans


def _earlier(a: Array) -> Array:
    """The first of every two spans, or blocks."""
    return a.reshape(len(a) // 2, 2, *a.shape[1:])[:, 0]


def _later(a: Array) -> Array:
    """The second."""
    return a.reshape(len(a) // 2, 2, *a.shape[1:])[:, 1]


def _fill(steps: int) -> int:
    """What is missing to the next power of two."""
    return (1 << (steps - 1).bit_length()) - steps


def _joined(first: _Span, second: _Span) -> _Span:
    """Each span with the one that follows it."""
    parts = range(first.passed.shape[1])

    def after_first(later: Array) -> Array:
        return _total(later[:, :, k, None] * first.passed[:, None, k] for k in parts)

    wrote = _total(first.wrote[:, :, k, None] * second.passed[:, None, :, k] for k in parts)
    return _Span(
        after_first(second.passed),
        jnp.concatenate([first.reads, after_first(second.reads)], 1),
        jnp.concatenate([wrote, second.wrote], 1),
    )


def _total(parts: Iterable[Array]) -> Array:
    """The sum over parts of the state. As an axis of size 1 to be reduced it would not be free."""
    return functools.reduce(jnp.add, parts)


def _before(reads: Array) -> Array:
    """[B, n, K, L], of the trace before each step, from those of the trace after it."""
    start = jnp.zeros_like(reads[:, :1]).at[:, :, 0].set(1)
    return jnp.concatenate([start, reads[:, :-1]], 1)


def _products(spans: list[_Span], x: Array, right: Array, after: bool) -> Array:
    """Coefficients [C, C, M, N] of rate_s left_sn in W_t x_tm, or W_{t-1} x_tm if not `after`.

    For x [C, M, I] and right [C, N, I].
    """
    steps, fill = len(x), [(0, _fill(len(x))), (0, 0), (0, 0)]
    if spans[0].reads.shape[-1] == 1:
        one = jnp.ones((steps + _fill(steps), 1, 1), x.dtype)
        kept = _lower(spans, one, one, after)[:steps, :steps]
        return jnp.einsum("tmi,sni->tsmn", x, right) * kept
    return _lower(spans, jnp.pad(x, fill), jnp.pad(right, fill), after)[:steps, :steps]


def _lower(spans: list[_Span], x: Array, right: Array, after: bool) -> Array:
    """`_products` for x [C, M, L] and right [C, N, L], from the diagonal outwards."""
    blocks = jnp.einsum("tmi,tni->tmn", x, right)[:, None, None]
    blocks = blocks if after else jnp.zeros_like(blocks)
    for span in spans[:-1]:
        count, size, *_ = span.reads.shape
        reads = span.reads if after else _before(span.reads)
        x, right = (a.reshape(count, size, *a.shape[-2:]) for a in (x, right))
        later = _later(reads)[:, :, None] * _later(x)[:, :, :, None]
        earlier = _earlier(span.wrote)[:, :, None] * _earlier(right)[:, :, :, None]
        corner = jnp.einsum("btmki,bsnki->btsmn", later, earlier)
        upper = jnp.concatenate([_earlier(blocks), jnp.zeros_like(corner)], 2)
        blocks = jnp.concatenate([upper, jnp.concatenate([corner, _later(blocks)], 2)], 1)
    return blocks[0]


def _parts(state: TraceMatrix) -> list[Array]:
    """The K parts of the state."""
    return [state.weight] if state.momentum is None else [state.weight, state.momentum[0]]


def _from_start(reads: Array, state: TraceMatrix, x: Array) -> Array:
    """What the state before the chunk adds to w_t x_tm, for reads [C, K, L] and x [C, M, I]."""
    return _total((reads[:, None, k] * x) @ part.T for k, part in enumerate(_parts(state)))


def _solve(plan: Plan, start: Array) -> Array:
    """The lefts [C, N, O] of the chunk's writes; start [C, M, O]."""
    u = plan.write.left
    if not plan.factors.shape[1]:
        return u
    known = u + jnp.einsum("tmn,tmo->tno", plan.factors, start)
    known = known.reshape(len(plan.system), -1)
    left = solve_triangular(-plan.system, known, lower=True, unit_diagonal=True)
    return left.reshape(u.shape)


def _next(plan: Plan, state: TraceMatrix, written: Array) -> TraceMatrix:
    """The state after the chunk; written [C, N, O]."""
    passed, wrote = plan.chunk.passed[0, :, :, None], plan.chunk.wrote[0, :, :, None]
    parts = [
        jnp.einsum("sno,sni->oi", written, wrote[:, j] * plan.write.right)
        + _total(passed[j, k] * part for k, part in enumerate(_parts(state)))
        for j in range(len(passed))
    ]
    if state.momentum is None:
        return state._replace(weight=parts[0])
    return state._replace(weight=parts[0], momentum=(parts[1], state.momentum[1]))
