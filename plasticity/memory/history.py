"""One step of any memory, for callers with a loop of their own; the trace after every write."""

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from plasticity.memory.dense import TraceMatrix, dense
from plasticity.types import Array, FastState, Form, LayerShape, Memory, PyTree, Write


def append(history: PyTree, row: PyTree, slot: Array) -> PyTree:
    """The history [C, ...] with `row` [...] at `slot` []."""
    return jax.tree.map(
        lambda rows, new: lax.dynamic_update_index_in_dim(rows, new, slot, 0), history, row
    )


def advance(memory: Memory, state: FastState, write: Write, slot: Array | int) -> FastState:
    """The state after a write, the one with number `slot` [] of its chunk.

    A chunk takes as many writes as `Memory.open` was given slots. One more is an error; where the
    slot is traced and no error can be raised, the trace becomes NaN, and so does whatever is read.

    Args:
      memory: the engine.
      state: of an open chunk.
      write: of one step of one episode, see `Write`.
      slot: [] int32, 0 for the first write of the chunk.

    Raises:
      ValueError: the chunk has no such slot, or the write is not of this layer and of one episode.
    """
    slots = len(jax.tree.leaves(state.history)[0])
    try:
        if not 0 <= operator.index(slot) < slots:
            raise ValueError(
                f"slot {slot} is not one of the {slots} with which the chunk was opened: close it, "
                "and open another"
            )
    except TypeError:  # traced
        inside = (slot >= 0) & (slot < slots)
        write = write._replace(keep=jnp.where(inside, write.keep, jnp.nan))
    slot = jnp.asarray(slot)
    carry, row = memory.apply(state, write, slot)
    return state._replace(carry=carry, history=append(state.history, row, slot))


def silenced(write: Write, silent: Array | bool = True) -> Write:
    """The write that leaves fast weights as they are (rate 0, keep 1), where `silent` [] holds.

    Of a form with momentum, the sum of earlier writes is forgotten, or it would go on to flow in.
    """
    write = write._replace(
        rate=jnp.where(silent, 0, write.rate), keep=jnp.where(silent, 1, write.keep)
    )
    if write.momentum is None:
        return write
    return write._replace(momentum=jnp.where(silent, 0, write.momentum))


def replay(
    shape: LayerShape,
    writes: Write,
    record: Callable[[TraceMatrix], PyTree],
    form: Form = Form(),
) -> PyTree:
    """`record` of a layer's dense trace after each of its writes [T, ...] of a form, stacked.

    Raises:
      ValueError: the writes have not this form and shape.
    """
    return _scan(shape, writes, record, form)[1]


def trace_after(shape: LayerShape, writes: Write, form: Form = Form()) -> TraceMatrix:
    """A layer's dense trace after all of its writes [T, ...].

    Raises:
      ValueError: the writes have not this form and shape.
    """
    return _scan(shape, writes, lambda trace: (), form)[0]


def _scan(
    shape: LayerShape, writes: Write, record: Callable[[TraceMatrix], PyTree], form: Form
) -> tuple[TraceMatrix, PyTree]:
    memory = dense(form=form)

    def body(state: FastState, write: Write) -> tuple[FastState, PyTree]:
        carry, _ = memory.apply(state, write, jnp.zeros((), jnp.int32))
        state = state._replace(carry=carry)
        return state, record(memory.close(state))

    dtype = jnp.promote_types(writes.left.dtype, jnp.float32)  # as fast weights have
    state = memory.open(memory.init(shape, dtype), shape, 0)
    state, recorded = lax.scan(body, state, writes)
    return memory.close(state), recorded
