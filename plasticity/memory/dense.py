"""The dense engine: the trace as a matrix. The definition, and the oracle for every other engine.

State per layer: h [O, I] and a bias trace [O], both zero at the start of an episode;
  h <- keep * h + rate * left right^T,   w = alpha * h   (see `plasticity.synapse`).
Memory and time O(O * I) a step, whatever the length of the episode. All state is carry.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.memory.contract import check_chunk, check_dtype, check_input, check_write
from plasticity.registry import exportable
from plasticity.synapse import scaled_bias, scaled_matrix, scaled_matvec
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


class TraceMatrix(NamedTuple):
    """Writes so far, before alpha and beta."""

    weight: Array  # [O, I]
    bias: Array  # [O]


exportable(TraceMatrix)


def init(shape: LayerShape, dtype: DType) -> TraceMatrix:
    """An empty trace."""
    check_dtype(dtype)
    return TraceMatrix(jnp.zeros(shape, dtype), jnp.zeros(shape.outputs, dtype))


def _open(base: TraceMatrix, shape: LayerShape, slots: int, per_output: bool) -> FastState:
    del shape, per_output
    # Rows of no numbers: they count the slots, as the rows of the other engines do.
    return FastState(base=(), carry=base, history=jnp.zeros((slots, 0), base.weight.dtype))


def read(state: FastState, synapse: Synapse, x: Array) -> Array:
    """w x + b for x [I]: [O]."""
    trace = state.carry
    check_input(x, trace.weight.shape[1])
    return scaled_matvec(synapse, trace.weight, x) + scaled_bias(synapse, trace.bias)


def apply(state: FastState, write: Write, slot: Array) -> tuple[TraceMatrix, Array]:
    """One write, in the type of the state; rate and keep may be [] or [O]."""
    del slot
    trace: TraceMatrix = state.carry
    check_write(write, *trace.weight.shape)
    left = write.rate * write.left
    keep = jnp.broadcast_to(write.keep, left.shape)
    weight = keep[:, None] * trace.weight + jnp.outer(left, write.right)
    after = TraceMatrix(weight, keep * trace.bias + left)
    after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, trace)
    return after, jnp.zeros((0,), state.history.dtype)


def close(state: FastState) -> TraceMatrix:
    """The trace."""
    return state.carry


def weights(base: TraceMatrix, synapse: Synapse) -> FastWeights:
    """The fast weights w [O, I] and b [O]."""
    return FastWeights(scaled_matrix(synapse, base.weight), scaled_bias(synapse, base.bias))


def dense(chunk: int = 0) -> Memory:
    """The engine. Training keeps the matrices of every step or, with a `chunk`, of every chunk."""
    chunk = check_chunk("dense", chunk, 0)
    return Memory(init, _open, read, apply, close, weights, chunk=chunk)
