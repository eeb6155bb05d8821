"""Everything random is a pure function of (seed, stream of randomness, step, index)."""

import enum

import jax

from plasticity.types import Array, Key


class RandomStream(enum.IntEnum):
    """Streams of randomness. Their numbers are part of every result: never renumber."""

    INIT = 0
    TRAIN = 1
    DROPOUT = 2
    VALIDATION = 3
    TEST = 4
    REFRESH = 5
    REPLAY = 6
    CONSOLIDATION = 7


def stream_key(seed: Array, stream: Array | int, step: Array | int = 0) -> Key:
    """The key of a stream of randomness at a step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), step)


def fold_many(key: Key, index: Array) -> Key:
    """A key for each index [B]."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)
