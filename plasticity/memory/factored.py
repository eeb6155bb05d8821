"""The factored engine: fast weights as the history of the vectors that were written.

Every write has rank one, so a memory is described by its writes, and no matrix is ever formed:

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
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.memory.contract import check_chunk, check_dtype, check_input, check_write
from plasticity.memory.dense import TraceMatrix
from plasticity.registry import exportable
from plasticity.synapse import WrittenRows, scaled_bias, scaled_matrix, scaled_mix
from plasticity.types import (
    Array,
    DType,
    FastState,
    FastWeights,
    LayerShape,
    Memory,
    Synapse,
    Write,
)


class Base(NamedTuple):
    """What closed chunks leave."""

    rows: WrittenRows
    bias: Array  # [O], trace of the bias


class Decay(NamedTuple):
    """What changes with every write; per output where the rule's rates or keeps are."""

    coefficient: Array  # [C] or [C, O], of the rows of this chunk
    since: Array  # [] or [O], product of keeps since the chunk was opened
    bias: Array  # [O], trace of the bias


exportable(Base, Decay)


def blank_rows(shape: LayerShape, slots: int, dtype: DType) -> WrittenRows:
    """Rows of zeros."""
    return WrittenRows(
        jnp.zeros((slots, shape.outputs), dtype), jnp.zeros((slots, shape.inputs), dtype)
    )


def init(shape: LayerShape, dtype: DType) -> Base:
    """No rows."""
    check_dtype(dtype)
    return Base(blank_rows(shape, 0, dtype), jnp.zeros(shape.outputs, dtype))


def open_chunk(
    base: Base | TraceMatrix, shape: LayerShape, slots: int, per_output: bool
) -> FastState:
    """A chunk of `slots` blank rows on any base that has a `bias`."""
    dtype = base.bias.dtype
    size = (shape.outputs,) if per_output else ()
    decay = Decay(jnp.zeros((slots, *size), dtype), jnp.ones(size, dtype), base.bias)
    return FastState(base, decay, blank_rows(shape, slots, dtype))


def apply(state: FastState, write: Write, slot: Array) -> tuple[Decay, WrittenRows]:
    """One write, in the type of the state.

    Its rate and keep are [O] if the chunk was opened `per_output`, else [].
    """
    old: Decay = state.carry
    check_write(write, state.history.left.shape[1], state.history.right.shape[1])
    # An [O] where [] was announced is an error here; it would else be spread over slots.
    rate, keep = (jnp.broadcast_to(a, old.since.shape) for a in (write.rate, write.keep))
    at_slot = (jnp.arange(len(old.coefficient)) == slot).reshape(-1, *(1,) * old.since.ndim)
    coefficient = jnp.where(at_slot, rate[None], keep[None] * old.coefficient)
    after = Decay(coefficient, keep * old.since, keep * old.bias + rate * write.left)
    row = WrittenRows(write.left, write.right)
    return jax.tree.map(lambda a, b: a.astype(b.dtype), (after, row), (old, state.history))


def weighted(state: FastState) -> WrittenRows:
    """The rows of this chunk with coefficients multiplied in."""
    rows, coefficient = state.history, state.carry.coefficient
    column = coefficient if coefficient.ndim == 2 else coefficient[:, None]
    return WrittenRows(column * rows.left, rows.right)


def read(state: FastState, synapse: Synapse, x: Array) -> Array:
    """w x + b for x [I]: [O]."""
    closed, decay = state.base.rows, state.carry
    check_input(x, closed.right.shape[1])
    shared = jnp.broadcast_to(decay.since, (len(closed.left), *decay.since.shape))
    mixed = scaled_mix(synapse, [(closed, shared), (state.history, decay.coefficient)], x)
    return mixed + scaled_bias(synapse, decay.bias)


def close(state: FastState) -> Base:
    """All rows, closed."""
    old, new = state.base.rows, weighted(state)
    left = jnp.concatenate([state.carry.since.reshape(1, -1) * old.left, new.left])
    return Base(WrittenRows(left, jnp.concatenate([old.right, new.right])), state.carry.bias)


def weights(base: Base, synapse: Synapse) -> FastWeights:
    """The fast weights w [O, I] and b [O]."""
    trace = base.rows.left.T @ base.rows.right
    return FastWeights(scaled_matrix(synapse, trace), scaled_bias(synapse, base.bias))


def factored(chunk: int = 0) -> Memory:
    """The engine; `chunk`: steps after which the history grows; 0: it has its full length at once.

    A read costs all slots of the history, written or not; with chunks, those of closed chunks and
    of the present one, and every chunk is compiled for itself.
    """
    chunk = check_chunk("factored", chunk, 0)
    return Memory(
        init, open_chunk, read, apply, close, weights, chunk=chunk, append_only=True, grows=True
    )
