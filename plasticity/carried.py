"""What the step of a network of one's own carries, as entries of the past."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.steps import EMPTY
from plasticity.types import Array, DType, PyTree


class Carried(NamedTuple):
    """The user's carry after P steps: a segment of the past, or an addition to it."""

    value: PyTree  # [P, ...]
    position: Array  # [P] int32, EMPTY for a blank entry


def blank(shape: PyTree, slots: int, dtype: DType) -> Carried:
    """Entries that hold no carry."""
    del dtype
    zeros = jax.tree.map(lambda a: jnp.zeros((slots, *a.shape), a.dtype), shape)
    return Carried(zeros, jnp.full((slots,), EMPTY, jnp.int32))


def carry_at(past: Sequence[Carried], position: Array, start: PyTree) -> PyTree:
    """The carry after the step at `position`; `start` before the first step."""
    found = [(s.position == position) & (s.position != EMPTY) for s in past]

    def pick(first: Array, *values: Array) -> Array:
        rows = [
            jnp.where(here.reshape(-1, *[1] * (v.ndim - 1)), v, jnp.zeros_like(v)).sum(0)
            for here, v in zip(found, values, strict=True)
        ]
        there = functools.reduce(jnp.logical_or, [here.any() for here in found], jnp.array(False))
        return jnp.where(there, sum(rows), first).astype(first.dtype)

    return jax.tree.map(pick, start, *[s.value for s in past])
