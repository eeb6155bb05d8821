"""Stacks of steps: pytrees whose leaves share a leading axis."""

import jax
import jax.numpy as jnp

from plasticity.types import Array, PyTree

EMPTY = -1  # the position of a slot of the past that holds nothing


def length(stack: PyTree) -> int:
    """The size of the leading axis."""
    return len(jax.tree.leaves(stack)[0])


def join(first: PyTree, second: PyTree | None) -> PyTree:
    """Two stacks in one; the first alone if there is no second."""
    if second is None:
        return first
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


def no_fast_weights(name: str, pre: Array) -> Array:
    """A `FastRead` for layers that have none."""
    del name
    return jnp.zeros((), pre.dtype)
