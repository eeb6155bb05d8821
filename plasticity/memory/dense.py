"""The dense engine: the trace as a matrix. The definition, and the oracle for every other engine.

State per layer: h [O, I] and a bias trace [O], both zero at the start of an episode;
  h <- keep * h + rate * left right^T,   w = alpha * h   (see `plasticity.synapse`).
Memory and time O(O * I) a step, whatever the length of the episode. All state is carry. This engine
takes writes of every form.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.memory.contract import (
    check_chunk,
    check_dtype,
    check_read,
    check_write,
    of_form,
)
from plasticity.registry import exportable
from plasticity.synapse import scaled_bias, scaled_matrix, scaled_matvec
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


class TraceMatrix(NamedTuple):
    """Writes so far, before alpha and beta."""

    weight: Array  # [O, I]
    bias: Array  # [O]
    momentum: tuple[Array, Array] | None = None  # the sums s of weight and bias; None: no momentum


exportable(TraceMatrix)


def init(form: Form, shape: LayerShape, dtype: DType) -> TraceMatrix:
    """An empty trace: h [O, I] and the trace of the bias [O], both zero.

    Args:
      form: of the writes.
      shape: of the layer.
      dtype: of the state, a floating type.

    Raises:
      ValueError: a state cannot have this type.
    """
    check_dtype(dtype)
    nothing = jnp.zeros(shape, dtype), jnp.zeros(shape.outputs, dtype)
    return TraceMatrix(*nothing, nothing if form.momentum else None)


def _open(base: TraceMatrix, shape: LayerShape, slots: int) -> FastState:
    del shape
    # Rows of no numbers: they count the slots, as the rows of the other engines do.
    return FastState(base=(), carry=base, history=jnp.zeros((slots, 0), base.weight.dtype))


def _read(form: Form, state: FastState, synapse: Synapse, x: Array) -> Array:
    """w x + b for x [I]: [O]."""
    trace = state.carry
    check_read(x, synapse, *trace.weight.shape)
    weight = trace.weight if form.to_weights is None else form.to_weights(trace.weight)
    return scaled_matvec(synapse, weight, x) + scaled_bias(synapse, trace.bias)


def _apply(form: Form, state: FastState, write: Write, slot: Array) -> tuple[TraceMatrix, Array]:
    """One write, in the type of the state."""
    del slot
    trace: TraceMatrix = state.carry
    check_write(form, write, *trace.weight.shape)
    left = write.rate * write.left
    if form.terms == 1:
        added = jnp.outer(left, write.right), left
    else:
        added = left.T @ write.right, left.sum(0)
    if write.momentum is not None and trace.momentum is not None:
        added = jax.tree.map(lambda s, new: write.momentum * s + new, trace.momentum, added)
    if form.keep in ("input", "synapse"):
        keep = write.keep if jnp.ndim(write.keep) == 2 else jnp.reshape(write.keep, (1, -1))
        kept = jnp.broadcast_to(keep, trace.weight.shape) * trace.weight, trace.bias
    else:
        keep = jnp.broadcast_to(write.keep, trace.bias.shape)
        kept = keep[:, None] * trace.weight, keep * trace.bias
    weight, bias = jax.tree.map(jnp.add, kept, added)
    weight = weight if form.settle is None else form.settle(weight)
    after = TraceMatrix(weight, bias, added if form.momentum else None)
    after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, trace)
    return after, jnp.zeros((0,), state.history.dtype)


def _close(state: FastState) -> TraceMatrix:
    """The trace [O, I] after all writes of the chunk; with it the next chunk is opened."""
    return state.carry


def weights(form: Form, base: TraceMatrix, synapse: Synapse) -> FastWeights:
    """The fast weights w [O, I] and b [O].

    Args:
      form: of the writes.
      base: the trace.
      synapse: alpha and beta.
    """
    weight = base.weight if form.to_weights is None else form.to_weights(base.weight)
    return FastWeights(scaled_matrix(synapse, weight), scaled_bias(synapse, base.bias))


def dense(chunk: int = 0, form: Form = Form()) -> Memory:
    """The engine that holds a matrix: the definition, for writes of every form.

    Args:
      chunk: steps after which training keeps the matrices; 0: those of every step.
      form: of the writes, `Rule.form`.

    Raises:
      ValueError: `chunk` is no whole number from 0 on.

    >>> import jax.numpy as jnp
    >>> import plasticity as P
    >>> memory, shape = P.dense(), P.LayerShape(outputs=2, inputs=3)
    >>> state = memory.open(memory.init(shape, jnp.float32), shape, 1)
    >>> write = P.Write(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0, 0.0]), 0.5, 1.0)
    >>> state = P.advance(memory, state, write, 0)
    >>> memory.read(state, P.Synapse(), jnp.array([1.0, 1.0, 1.0])).tolist()
    [0.5, 1.0]
    """
    chunk = check_chunk("the dense engine", chunk, 0)
    empty, read, apply, shown = of_form(form, init, _read, _apply, weights)
    return Memory(empty, _open, read, apply, _close, shown, form, chunk)
