"""The seeds that a run trains in one program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict


class Seeds:
    """`train.num_seeds` seeds from `seed` on.

    With one seed, functions and arrays are what they are. With S seeds, functions are mapped over
    a leading axis [S] of seeds, states and results: side by side, or one after the other in every
    step, where an encoder of images is trained: a convolution with other weights for every seed
    would be one in groups, for which XLA has no fast program on CPUs.

    Attributes:
      numbers: the seeds.
      array: the same for the device, [] or [S] int32.
    """

    def __init__(self, config: ConfigDict, in_turn: bool = False):
        count = config.train.num_seeds
        self._in_turn = in_turn
        self.numbers = list(range(config.seed, config.seed + count))
        self.array = jnp.asarray(self.numbers if count > 1 else self.numbers[0], jnp.int32)

    def map(self, function: Callable, *own: bool) -> Callable:
        """The function, mapped over the arguments of which each seed has its `own`."""
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
