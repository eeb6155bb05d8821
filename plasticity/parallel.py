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

Products of keeps are cumulative products, never quotients, so that a keep may be 0 or negative.
With momentum, G is the product of two such triangles: what step r adds to the sum s, decayed by
momentum, enters the trace at every later step, decayed by keep.

Axis letters: t and s steps of the chunk (C), m reads of a step, n terms of a write, i inputs, o
outputs.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from plasticity.memory.dense import TraceMatrix
from plasticity.types import Array, Form, Site, Token, Write


def run_chunk(
    site: Site, form: Form, state: TraceMatrix, tokens: Token
) -> tuple[TraceMatrix, Array]:
    """The state after C steps, and their answers [C, O]. See `plasticity.associate`."""
    tokens = jax.vmap(site.prepare)(tokens)
    affine = jax.vmap(functools.partial(_affine, site))(tokens)
    write = _sized(form, affine.write)
    after, sums = _past(write)
    before = _before(after)
    left = _solve(
        form,
        affine,
        _products(form, before, affine.addresses, write),
        _from_start(form, before, state, affine.addresses),
    )
    seen = after if site.order == "read_after_write" else before
    query = tokens.query[:, None]
    per_output = "o" if form.keep == "output" else ""
    answers = _from_start(form, seen, state, query)[:, 0] + jnp.einsum(
        f"tmsn{per_output},sno->to", _products(form, seen, query, write), left
    )
    state = _next(form, after, sums, state, write._replace(left=left))
    return state, jax.vmap(lambda token, o: site.answer(token, lambda query: o))(tokens, answers)


def _sized(form: Form, write: Write) -> Write:
    """The write with rate and keep of the size that the form announces."""

    def sized(factor: Array, size: int) -> Array:
        return jnp.broadcast_to(factor.reshape(len(factor), -1), (len(factor), size))

    if form.keep == "input":
        return write._replace(keep=sized(write.keep, write.right.shape[-1]))
    if form.keep == "output":
        outputs = write.left.shape[-1]
        return write._replace(rate=sized(write.rate, outputs), keep=sized(write.keep, outputs))
    return write


class _Affine(NamedTuple):
    """The writes of a chunk before what they read is known: left = u + sum_m factor_m read_m."""

    addresses: Array  # a [C, M, I]
    factors: Array  # f [C, M, N, O]
    write: Write  # left is u [C, N, O]; right [C, N, I]


def _affine(site: Site, token: Token) -> _Affine:
    """The parts of one step's write: addresses by a `read` that records, factors by derivative."""
    addresses = []
    nothing = jnp.zeros_like(token.value)

    def record(x: Array) -> Array:
        addresses.append(x)
        return nothing

    write = site.write(token, record)

    def left(*recalled: Array) -> Array:
        values = iter(recalled)
        return jnp.atleast_2d(site.write(token, lambda x: next(values)).left)

    zeros = (nothing,) * len(addresses)
    ones = [tuple(jnp.full_like(z, i == m) for i, z in enumerate(zeros)) for m in range(len(zeros))]
    factors = [jax.jvp(left, zeros, tangent)[1] for tangent in ones]
    u, right = jnp.atleast_2d(write.left), jnp.atleast_2d(write.right)
    return _Affine(
        jnp.stack(addresses) if addresses else jnp.zeros((0, *token.key.shape), u.dtype),
        jnp.stack(factors) if factors else jnp.zeros((0, *u.shape), u.dtype),
        write._replace(left=u, right=right),
    )


def _triangle(factor: Array) -> Array:
    """Products of factors [C, ...] after step s up to step t, at [t, s]; 0 for s > t."""
    steps = len(factor)
    later = jnp.tri(steps, k=-1, dtype=bool).reshape(steps, steps, *[1] * (factor.ndim - 1))
    products = jnp.cumprod(jnp.where(later, factor[:, None], 1), axis=0)
    return jnp.where(later | jnp.eye(steps, dtype=bool).reshape(later.shape), products, 0)


class _Past(NamedTuple):
    """Coefficients of what the state at step t consists of; ...: as keeps, [], [O] or [I]."""

    rows: Array  # [C, C, ...], of the chunk's writes
    start: Array  # [C, ...], of the trace before the chunk
    speed: Array | None  # [C, ...], of the sum s before the chunk


def _before(past: _Past) -> _Past:
    """Of the state before step t, from those of the state after it."""

    def shift(a: Array, first: float) -> Array:
        return jnp.concatenate([jnp.full_like(a[:1], first), a[:-1]])

    speed = None if past.speed is None else shift(past.speed, 0)
    return _Past(shift(past.rows, 0), shift(past.start, 1), speed)


def _past(write: Write) -> tuple[_Past, Array | None]:
    """Of the state after step t; and the coefficients [C, C] of the writes in the sum s."""
    rows, start = _triangle(write.keep), jnp.cumprod(write.keep, axis=0)
    if write.momentum is None:
        return _Past(rows, start, None), None
    sums = _triangle(write.momentum)
    speed = jnp.einsum("tr...,r->t...", rows, jnp.cumprod(write.momentum))
    return _Past(jnp.einsum("tr...,rs->ts...", rows, sums), start, speed), sums


def _products(form: Form, past: _Past, x: Array, write: Write) -> Array:
    """Coefficients [C, M, C, N] of left_sn in w_t x_tm for x [C, M, I]; [..., O] if per output."""
    rate = write.rate
    if form.keep == "input":
        return jnp.einsum("tmi,tsi,sni,s->tmsn", x, past.rows, write.right, rate)
    scores = jnp.einsum("tmi,sni->tmsn", x, write.right)
    if form.keep == "output":
        return jnp.einsum("tmsn,tso,so->tmsno", scores, past.rows, rate)
    return scores * (past.rows * rate)[:, None, :, None]


def _from_start(form: Form, past: _Past, state: TraceMatrix, x: Array) -> Array:
    """What the state before the chunk adds to w_t x_tm, for x [C, M, I]: [C, M, O]."""

    def share(factor: Array, weight: Array) -> Array:
        factor = factor.reshape(len(factor), 1, -1)
        if form.keep == "input":
            return (factor * x) @ weight.T
        return factor * (x @ weight.T)

    read = share(past.start, state.weight)
    if past.speed is not None and state.momentum is not None:
        read += share(past.speed, state.momentum[0])
    return read


def _solve(form: Form, affine: _Affine, products: Array, start: Array) -> Array:
    """The lefts [C, N, O] of the chunk's writes."""
    u, factors = affine.write.left, affine.factors
    if not factors.shape[1]:
        return u
    known = u + jnp.einsum("tmno,tmo->tno", factors, start)
    size = u.shape[0] * u.shape[1]

    def solve(factors: Array, products: Array, known: Array) -> Array:
        triangle = jnp.einsum("tmn,tmsp->tnsp", factors, products).reshape(size, size)
        return solve_triangular(-triangle, known, lower=True, unit_diagonal=True)

    known = known.reshape(size, -1)
    if form.keep == "output":
        each = jax.vmap(solve, in_axes=-1, out_axes=-1)
        return each(factors, products, known).reshape(u.shape)
    return solve(factors[..., 0], products, known).reshape(u.shape)


def _next(
    form: Form, after: _Past, sums: Array | None, state: TraceMatrix, write: Write
) -> TraceMatrix:
    """The state after the chunk."""

    def kept(weight: Array, factor: Array) -> Array:
        return factor.reshape((1, -1) if form.keep == "input" else (-1, 1)) * weight

    def written(coefficient: Array) -> Array:
        left = write.rate.reshape(len(write.rate), 1, -1) * write.left
        factor = coefficient.reshape(len(coefficient), 1, -1)
        if form.keep == "input":
            return jnp.einsum("sno,sni->oi", left, factor * write.right)
        return jnp.einsum("sno,sni->oi", factor * left, write.right)

    weight = kept(state.weight, after.start[-1]) + written(after.rows[-1])
    if sums is None or after.speed is None or state.momentum is None or write.momentum is None:
        return state._replace(weight=weight)
    speed, bias = state.momentum
    weight += kept(speed, after.speed[-1])
    speed = jnp.prod(write.momentum) * speed + written(sums[-1])
    return state._replace(weight=weight, momentum=(speed, bias))
