"""One step of any memory, for those who walk an episode by themselves; and a slow look back."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from plasticity.memory.dense import TraceMatrix, dense
from plasticity.types import Array, FastState, LayerShape, Memory, PyTree, Write


def append(history: PyTree, row: PyTree, slot: Array) -> PyTree:
    """The history with `row` in its place."""
    return jax.tree.map(
        lambda rows, new: lax.dynamic_update_index_in_dim(rows, new, slot, 0), history, row
    )


def advance(memory: Memory, state: FastState, write: Write, slot: Array) -> FastState:
    """The state after a write, the one with number `slot` [] of its chunk."""
    carry, row = memory.apply(state, write, slot)
    return state._replace(carry=carry, history=append(state.history, row, slot))


def replay(shape: LayerShape, writes: Write, record: Callable[[TraceMatrix], PyTree]) -> PyTree:
    """What `record` says of a layer's dense trace after each of its writes [T, ...], stacked."""
    return _walk(shape, writes, record)[1]


def trace_after(shape: LayerShape, writes: Write) -> TraceMatrix:
    """A layer's dense trace after all of its writes [T, ...]."""
    return _walk(shape, writes, lambda trace: ())[0]


def _walk(
    shape: LayerShape, writes: Write, record: Callable[[TraceMatrix], PyTree]
) -> tuple[TraceMatrix, PyTree]:
    memory = dense()

    def body(state: FastState, write: Write) -> tuple[FastState, PyTree]:
        state = advance(memory, state, write, jnp.zeros((), jnp.int32))
        return state, record(memory.close(state))

    base = memory.init(shape, writes.left.dtype)
    state, told = lax.scan(body, memory.open(base, shape, 0, False), writes)
    return memory.close(state), told
