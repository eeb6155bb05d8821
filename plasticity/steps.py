"""Stacks of steps: pytrees whose leaves share a leading axis."""

import jax
import jax.numpy as jnp

from plasticity.types import FastRead, PyTree

EMPTY = -1  # position of a blank entry of the past


def length(stack: PyTree) -> int:
    """Returns the size of the leading axis."""
    return len(jax.tree.leaves(stack)[0])


def join(first: PyTree, second: PyTree | None) -> PyTree:
    """Concatenates two stacks along the leading axis; returns the first if the second is None."""
    if second is None:
        return first
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


# A `FastRead` of fast weights that are zero.
no_fast_weights = FastRead(
    read=lambda layer, pre: jnp.zeros((), pre.dtype),
    associate=lambda site, tokens: jnp.zeros_like(tokens.value),
)
