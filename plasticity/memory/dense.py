"""The dense engine: the trace as a matrix. The definition, and the oracle for every other engine.

State per layer: h [O, I] and a bias trace [O], both zero at the start of an episode;
  h <- keep * h + rate * left right^T,   w = alpha * h   (see `plasticity.synapse`).
Memory and time O(O * I) a step, whatever the length of the episode.
"""

from typing import NamedTuple

import jax.numpy as jnp

from plasticity.synapse import scaled_bias, scaled_matrix, scaled_matvec
from plasticity.types import Array, DType, FastWeights, LayerShape, Memory, Synapse, Write


class DenseState(NamedTuple):
    """Writes so far, before alpha and beta."""

    weight: Array  # [O, I]
    bias: Array  # [O]


def init(shape: LayerShape, steps: int, dtype: DType) -> DenseState:
    """An empty trace. `steps` is of no concern to this engine: its state does not grow."""
    del steps
    return DenseState(jnp.zeros(shape, dtype), jnp.zeros(shape.outputs, dtype))


def read(state: DenseState, synapse: Synapse, x: Array) -> Array:
    """w x + b for x [I]: [O]."""
    return scaled_matvec(synapse, state.weight, x) + scaled_bias(synapse, state.bias)


def apply(state: DenseState, write: Write) -> DenseState:
    """One write; rate and keep may be [] or [O]."""
    left = write.rate * write.left
    keep = jnp.broadcast_to(write.keep, left.shape)
    return DenseState(
        keep[:, None] * state.weight + left[:, None] * write.right, keep * state.bias + left
    )


def weights(state: DenseState, synapse: Synapse) -> FastWeights:
    """The fast weights w [O, I] and b [O]."""
    return FastWeights(scaled_matrix(synapse, state.weight), scaled_bias(synapse, state.bias))


dense = Memory(init, read, apply, weights)
