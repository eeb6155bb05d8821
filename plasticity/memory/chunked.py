"""The chunked engine: dense at the boundaries of chunks, factored inside.

  w_t = since_t * w_start + the rows written since,   w_start a matrix, fixed during the chunk

Reads cost one matrix and C rows, however long the episode; training keeps one matrix per chunk and
the rows, not one matrix per step. A chunk is closed by one matrix product, left^T right.
"""

from plasticity.memory.contract import check_chunk, check_input
from plasticity.memory.dense import TraceMatrix, init, weights
from plasticity.memory.factored import apply, open_chunk, weighted
from plasticity.synapse import scaled_bias, scaled_matvec, scaled_mix
from plasticity.types import Array, FastState, Memory, Synapse


def read(state: FastState, synapse: Synapse, x: Array) -> Array:
    """w x + b for x [I]: [O]."""
    start, decay = state.base, state.carry
    check_input(x, start.weight.shape[1])
    # alpha * h is constant during the chunk, so `append_scan` forms it once.
    at_start = decay.since * scaled_matvec(synapse, start.weight, x)
    mixed = scaled_mix(synapse, [(state.history, decay.coefficient)], x)
    return at_start + mixed + scaled_bias(synapse, decay.bias)


def close(state: FastState) -> TraceMatrix:
    """The trace after this chunk."""
    start, since, rows = state.base, state.carry.since, weighted(state)
    weight = since.reshape(-1, 1) * start.weight + rows.left.T @ rows.right
    return TraceMatrix(weight, state.carry.bias)


def chunked(chunk: int) -> Memory:
    """The engine with `chunk` steps per chunk, at least one; the last chunk may be shorter."""
    chunk = check_chunk("chunked", chunk, 1)
    return Memory(init, open_chunk, read, apply, close, weights, chunk=chunk, append_only=True)
