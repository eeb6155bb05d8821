"""Vectors of one length travel through a loop as one array.

An operation on a small array costs about the same as one on a larger array: a microsecond on a CPU
or a TPU, more on a GPU. Eight numbers per episode that a loop stores at every step are eight
operations forward and eight backward; stacked, they are one each.
"""

import collections
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from plasticity.types import Array


class Packing:
    """How a list of leaves is packed: vectors of one length and dtype, and scalars, are one stack.

    Matrices stay as they are: copying them into a stack costs more than it spares. Axes of length 1
    do not count. Example: leaves of shapes [3], [], [3, 1], [3, 2] and None are packed in [2, 3],
    [] and [3, 2].

    Args:
      leaves: arrays or abstract arrays; None where there is no leaf.
    """

    def __init__(self, leaves: Sequence[Any]):
        groups: dict[Any, list[int]] = collections.defaultdict(list)
        for i, leaf in enumerate(leaves):
            if leaf is not None:
                shape = _squeezed(leaf.shape)
                groups[shape, leaf.dtype, i if len(shape) > 1 else -1].append(i)
        self.groups = list(groups.values())
        self.shapes = [None if leaf is None else leaf.shape for leaf in leaves]

    def pack(self, leaves: Sequence[Any]) -> list[Array]:
        """The stacks; a leaf that no other equals in shape and dtype stays as it is."""
        return [
            jnp.stack([leaves[i].reshape(_squeezed(leaves[i].shape)) for i in group])
            if len(group) > 1
            else leaves[group[0]]
            for group in self.groups
        ]

    def unpack(self, stacks: Sequence[Array]) -> list[Any]:
        """The leaves."""
        leaves: list[Any] = [None] * len(self.shapes)
        for group, stack in zip(self.groups, stacks, strict=True):
            parts = stack if len(group) > 1 else [stack]
            for place, i in enumerate(group):
                leaves[i] = parts[place].reshape(self.shapes[i])
        return leaves


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
