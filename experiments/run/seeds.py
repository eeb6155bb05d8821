"""The seeds that a run trains in one program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict


class Seeds:
    """`train.num_seeds` seeds from `seed` on.

    With one seed, functions and arrays have no axis of seeds. With S seeds, functions are mapped
    over a leading axis [S] of seeds, states and results: by `vmap`, or, with `in_turn`, by a loop
    over the seeds inside every step. The loop is for encoders of images. `vmap` makes a grouped
    convolution of S convolutions with different weights, and that is slow on CPUs.

    Attributes:
      numbers: the seeds.
      array: the seeds as an array on the device, [] or [S] int32.
    """

    def __init__(self, config: ConfigDict, in_turn: bool = False):
        count = config.train.num_seeds
        self._in_turn = in_turn
        self.numbers = list(range(config.seed, config.seed + count))
        self.array = jnp.asarray(self.numbers if count > 1 else self.numbers[0], jnp.int32)

    def map(self, function: Callable, *own: bool) -> Callable:
        """The function, mapped over the arguments for which `own` is True."""
        if len(self.numbers) == 1:
            return function
        if not self._in_turn:
            return jax.vmap(function, in_axes=[0 if mine else None for mine in own])

        def run(*arguments: Any) -> Any:
            results = []
            for which in range(len(self.numbers)):
                pairs = zip(own, arguments, strict=True)
                results.append(function(*(self.pick(a, which) if mine else a for mine, a in pairs)))
            return jax.tree.map(lambda *parts: jnp.stack(parts), *results)

        return run

    def pick(self, tree: Any, which: int) -> Any:
        """One seed's part of a tree of results; `which` counts from 0."""
        return tree if len(self.numbers) == 1 else jax.tree.map(lambda a: a[which], tree)

    def split(self, tree: Any) -> list[Any]:
        """Every seed's part of a tree of results, as numpy arrays."""
        tree = jax.tree.map(np.asarray, jax.device_get(tree))
        return [self.pick(tree, which) for which in range(len(self.numbers))]
