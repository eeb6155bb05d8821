"""The chunked engine: dense at the boundaries of chunks, factored inside.

  w_t = since_t * w_start + the rows written since,   w_start a matrix, fixed during the chunk

Reads cost one matrix and C rows, however long the episode; training keeps one matrix per chunk and
the rows, not one matrix per step. A chunk is closed by one matrix product, left^T right.
"""

from plasticity.memory.contract import check_chunk, check_form, check_read, of_form
from plasticity.memory.dense import TraceMatrix, init, weights
from plasticity.memory.factored import apply, open_chunk, part, scaled_rows
from plasticity.synapse import scaled_bias, scaled_matvec, scaled_mix
from plasticity.types import Array, FastState, Form, Memory, Synapse


def _read(form: Form, state: FastState, synapse: Synapse, x: Array) -> Array:
    """w x + b for x [I]: [O]."""
    start, decay = state.base, state.carry
    check_read(x, synapse, *start.weight.shape)

    def at_start(weight: Array, factor: Array) -> Array:
        # alpha * h is constant during the chunk, so `append_scan` forms it once.
        if form.keep == "input":
            return scaled_matvec(synapse, weight, factor * x)
        return factor * scaled_matvec(synapse, weight, x)

    read = at_start(start.weight, decay.since)
    if decay.momentum is not None:
        read += at_start(start.momentum[0], decay.momentum.moved)
    mixed = scaled_mix(synapse, [part(form, state.history, decay.coefficient)], x)
    return read + mixed + scaled_bias(synapse, decay.bias)


def _close(form: Form, state: FastState) -> TraceMatrix:
    """The trace after this chunk."""
    start, decay = state.base, state.carry

    def kept(weight: Array, factor: Array) -> Array:
        return factor.reshape((1, -1) if form.keep == "input" else (-1, 1)) * weight

    def written(coefficient: Array) -> Array:
        rows = scaled_rows(form, state.history, coefficient)
        return rows.left.T @ rows.right

    weight = kept(start.weight, decay.since) + written(decay.coefficient)
    speed = decay.momentum
    if speed is None:
        return TraceMatrix(weight, decay.bias)
    slower = kept(start.momentum[0], speed.since) + written(speed.coefficient)
    weight += kept(start.momentum[0], speed.moved)
    return TraceMatrix(weight, decay.bias, (slower, speed.bias))


def chunked(chunk: int, form: Form = Form()) -> Memory:
    """The engine that holds a matrix per chunk, and the written vectors within it.

    Args:
      chunk: steps per chunk, at least one; the last chunk may be shorter.
      form: of the writes, `Rule.form`.

    Raises:
      ValueError: `chunk` is no whole number from 1 on, or the engine cannot express the form.
    """
    chunk = check_chunk("the chunked engine", chunk, 1)
    check_form("chunked", form)
    parts = of_form(form, init, open_chunk, _read, apply, _close, weights)
    empty, opened, read, written, closed, shown = parts
    return Memory(empty, opened, read, written, closed, shown, form, chunk, append_only=True)
