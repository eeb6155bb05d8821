"""The factored engine: fast weights as the history of the vectors that were written.

A write is one outer product, or N of them. So the memory stores the vectors of its writes and forms
no matrix while it is read. With N = 1,

  w_t x = alpha * sum_{s<t} c_ts left_s right_s^T x,   c_ts = rate_s prod_{s<r<t} keep_r

With `alpha` per neuron or shared, that is attention without softmax, the scores right_s . x
weighting the rows left_s. With `alpha` per synapse it is one matrix product for all past steps,

  w_t x = sum_{s<t} c_ts left_s * (alpha (right_s * x)).

The coefficients c_ts are carried from step to step, c <- keep * c, then c_t = rate_t: products
only, never a quotient or a logarithm, so that keep = 0 and keep < 0 are exact and long products
underflow to zero, their limit. Slots that are not yet written have c = 0, which hides them.

An episode may be cut in chunks. A closed chunk leaves its rows, coefficients multiplied in. All of
them share one factor from then on, the product `since` of the later keeps. Example, chunks of two
writes with keep 1/2 and rate 1: after three writes the closed rows are (1/2 left_0, left_1), since
is 1/2, and the open chunk has the row left_2 with c = 1.

Momentum is a second vector of coefficients, those of the sum s: s_s <- momentum * s_s, then
s_t = rate_t; c <- keep * c + s. What a closed chunk left in s moves into h by the factor `moved`.
A keep per input scales `right`, not `left`, and N terms of a write are N rows of one coefficient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.memory.contract import (
    check_chunk,
    check_dtype,
    check_form,
    check_read,
    check_write,
    of_form,
)
from plasticity.memory.dense import TraceMatrix
from plasticity.registry import exportable
from plasticity.synapse import WrittenRows, scaled_bias, scaled_matrix, scaled_mix
from plasticity.types import (
    Array,
    DType,
    FastState,
    FastWeights,
    Form,
    LayerShape,
    Memory,
    Synapse,
    Write,
)


class Base(NamedTuple):
    """What closed chunks leave."""

    rows: WrittenRows
    bias: Array  # [O], trace of the bias
    momentum: tuple[WrittenRows, Array] | None = None  # rows and bias of the sum s


class Speed(NamedTuple):
    """What changes with every write of a rule with momentum; sizes as in `Decay`."""

    coefficient: Array  # of the rows of this chunk in s
    since: Array  # of the base's s in s
    moved: Array  # of the base's s in h
    bias: Array  # [O], s of the bias


class Decay(NamedTuple):
    """What changes with every write; per output or input where the rule's keeps are."""

    coefficient: Array  # [C], [C, O] or [C, I], of the rows of this chunk
    since: Array  # [], [O] or [I], product of keeps since the chunk was opened
    bias: Array  # [O], trace of the bias
    momentum: Speed | None = None


exportable(Base, Speed, Decay)


def blank_rows(shape: LayerShape, slots: int, dtype: DType, terms: int = 1) -> WrittenRows:
    """Rows of zeros: left [slots, O], right [slots, I], with N terms [slots, N, ...]."""
    several = () if terms == 1 else (terms,)
    return WrittenRows(
        jnp.zeros((slots, *several, shape.outputs), dtype),
        jnp.zeros((slots, *several, shape.inputs), dtype),
    )


def _init(form: Form, shape: LayerShape, dtype: DType) -> Base:
    """No rows, left [0, O] and right [0, I], and the trace of the bias [O], zero.

    Raises:
      ValueError: a state cannot have this dtype.
    """
    check_dtype(dtype)
    nothing = blank_rows(shape, 0, dtype), jnp.zeros(shape.outputs, dtype)
    return Base(*nothing, nothing if form.momentum else None)


def open_chunk(form: Form, base: Base | TraceMatrix, shape: LayerShape, slots: int) -> FastState:
    """A chunk of blank rows.

    Args:
      form: of the writes.
      base: what closed chunks left, with a `bias` and a `momentum`.
      shape: of the layer.
      slots: C, the writes to come.
    """
    dtype = base.bias.dtype
    size = {"scalar": (), "output": (shape.outputs,), "input": (shape.inputs,)}[form.keep]
    nothing, all_of_it = jnp.zeros((slots, *size), dtype), jnp.ones(size, dtype)
    speed = None
    if base.momentum is not None:
        speed = Speed(nothing, all_of_it, jnp.zeros(size, dtype), base.momentum[1])
    decay = Decay(nothing, all_of_it, base.bias, speed)
    return FastState(base, decay, blank_rows(shape, slots, dtype, form.terms))


def apply(form: Form, state: FastState, write: Write, slot: Array) -> tuple[Decay, WrittenRows]:
    """One write, in the type of the state.

    Args:
      form: of the writes.
      state: of the chunk.
      write: see `Write`.
      slot: [] int32, its number in the chunk.

    Raises:
      ValueError: the write has not the form and the sizes of this memory.
    """
    old: Decay = state.carry
    check_write(form, write, state.history.left.shape[-1], state.history.right.shape[-1])
    # An [O] where [] was announced is an error here; it would else be spread over slots.
    rate, keep = (jnp.broadcast_to(a, old.since.shape) for a in (write.rate, write.keep))
    at_slot = (jnp.arange(len(old.coefficient)) == slot).reshape(-1, *(1,) * old.since.ndim)
    left = write.left if form.terms == 1 else write.left.sum(0)
    kept = old.bias if form.keep == "input" else keep * old.bias
    added = (write.rate if form.keep == "input" else rate) * left
    speed = None
    if old.momentum is None or write.momentum is None:
        coefficient = jnp.where(at_slot, rate[None], keep[None] * old.coefficient)
    else:
        speed = _speed(old.momentum, write.momentum, keep, jnp.where(at_slot, rate[None], 0), added)
        coefficient = keep[None] * old.coefficient + speed.coefficient
        added = speed.bias
    after = Decay(coefficient, keep * old.since, kept + added, speed)
    row = WrittenRows(write.left, write.right)
    return jax.tree.map(lambda a, b: a.astype(b.dtype), (after, row), (old, state.history))


def _speed(old: Speed, momentum: Array, keep: Array, new: Array, bias: Array) -> Speed:
    """The sum s after a write; `new` is zero but for the rate in the row of the write."""
    since = momentum * old.since
    coefficient = momentum * old.coefficient + new
    return Speed(coefficient, since, keep * old.moved + since, momentum * old.bias + bias)


def scaled_rows(form: Form, rows: WrittenRows, coefficient: Array) -> WrittenRows:
    """Rows [P] with their coefficients multiplied in: on the right where they are per input."""
    factor = coefficient if coefficient.ndim == 2 else coefficient[:, None]
    if form.terms > 1 and rows.left.ndim == 3:
        rows = WrittenRows(*(a.reshape(-1, a.shape[-1]) for a in rows))
        factor = jnp.repeat(factor, form.terms, axis=0)
    if form.keep == "input":
        return WrittenRows(rows.left, factor * rows.right)
    return WrittenRows(factor * rows.left, rows.right)


def part(form: Form, rows: WrittenRows, coefficient: Array) -> tuple[WrittenRows, Array]:
    """Rows and coefficients as `scaled_mix` takes them."""
    if form.keep == "input" or form.terms > 1:
        scaled = scaled_rows(form, rows, coefficient)
        return scaled, jnp.ones(len(scaled.left), coefficient.dtype)
    return rows, coefficient


def _spread(rows: WrittenRows, factor: Array) -> Array:
    """One factor for each of the rows [P]."""
    return jnp.broadcast_to(factor, (len(rows.left), *factor.shape))


def _read(form: Form, state: FastState, synapse: Synapse, x: Array) -> Array:
    """w x + b for x [I]: [O]."""
    closed, decay = state.base, state.carry
    check_read(x, synapse, closed.rows.left.shape[1], closed.rows.right.shape[1])
    parts = [part(form, closed.rows, _spread(closed.rows, decay.since))]
    if decay.momentum is not None:
        slower = closed.momentum[0]
        parts += [part(form, slower, _spread(slower, decay.momentum.moved))]
    parts += [part(form, state.history, decay.coefficient)]
    return scaled_mix(synapse, parts, x) + scaled_bias(synapse, decay.bias)


def _close(form: Form, state: FastState) -> Base:
    """All rows, closed."""
    old, decay = state.base, state.carry
    speed: Speed | None = decay.momentum

    def joined(*parts: WrittenRows) -> WrittenRows:
        return jax.tree.map(lambda *rows: jnp.concatenate(rows), *parts)

    def kept(rows: WrittenRows, factor: Array) -> WrittenRows:
        return scaled_rows(form, rows, _spread(rows, factor))

    rows = kept(old.rows, decay.since)
    written = scaled_rows(form, state.history, decay.coefficient)
    if speed is None:
        return Base(joined(rows, written), decay.bias)
    # The rows of s are those of h with other factors: one of their two sides is the same.
    moved = kept(old.momentum[0], speed.moved)
    if form.keep == "input":
        rows = rows._replace(right=rows.right + moved.right)
    else:
        rows = rows._replace(left=rows.left + moved.left)
    slower = kept(old.momentum[0], speed.since)
    slower = joined(slower, scaled_rows(form, state.history, speed.coefficient))
    return Base(joined(rows, written), decay.bias, (slower, speed.bias))


def _weights(base: Base, synapse: Synapse) -> FastWeights:
    """The fast weights w [O, I] and b [O]."""
    trace = base.rows.left.T @ base.rows.right
    return FastWeights(scaled_matrix(synapse, trace), scaled_bias(synapse, base.bias))


def factored(chunk: int = 0, form: Form = Form()) -> Memory:
    """The engine that holds the written vectors, and no matrix.

    A read costs all slots of the history, written or not; with chunks, those of closed chunks and
    of the present one, and every chunk is compiled for itself.

    Args:
      chunk: steps after which the history grows; 0: it has its full length at once.
      form: of the writes, `Rule.form`.

    Raises:
      ValueError: `chunk` is no whole number from 0 on, or the engine cannot express the form.
    """
    chunk = check_chunk("the factored engine", chunk, 0)
    check_form("factored", form)
    empty, opened, read, written, closed = of_form(form, _init, open_chunk, _read, apply, _close)
    flags = {"append_only": True, "grows": True}
    return Memory(empty, opened, read, written, closed, _weights, form, chunk, **flags)
