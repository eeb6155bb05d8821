"""The seeds that train in one program: those of a run, or of several runs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from plasticity.learner import Hyperparameters

# Axes of the hyperparameters of several runs: each seed has those of its run, all have one data.
OWN = Hyperparameters(*[0] * len(Hyperparameters._fields))._replace(data=None)


class Seeds:
    """`train.num_seeds` seeds from `seed` on, of each run that trains in a program.

    With one seed, functions and arrays have no axis of seeds. With S seeds, functions are mapped
    over a leading axis [S] of seeds, states and results: by `vmap`, or, with `in_turn`, by a loop
    over the seeds inside every step. The loop is for encoders of images. `vmap` makes a grouped
    convolution of S convolutions with different weights, and that is slow on CPUs.

    Several runs have one axis of all their seeds, run after run, which their hyperparameters have
    too.

    Args:
      configs: of the runs, with one `train.num_seeds`; of one run, if `in_turn`.

    Attributes:
      numbers: the seeds.
      array: the seeds as an array on the device, [] or [S] int32.
      hyper: the axis of hyperparameters, for `map`.
    """

    def __init__(self, *configs: ConfigDict, in_turn: bool = False):
        self._each, self._in_turn = configs[0].train.num_seeds, in_turn
        self.numbers = [c.seed + which for c in configs for which in range(self._each)]
        alone = len(self.numbers) == 1
        self.array = jnp.asarray(self.numbers[0] if alone else self.numbers, jnp.int32)
        self.hyper = OWN if len(configs) > 1 else None

    def map(self, function: Callable, *axes: Any) -> Callable:
        """The function, mapped over the arguments whose axis is 0; None: all seeds share it."""
        if len(self.numbers) == 1:
            return function
        if not self._in_turn:
            return jax.vmap(function, in_axes=axes)

        def run(*arguments: Any) -> Any:
            results = []
            for which in range(len(self.numbers)):
                pairs = zip(axes, arguments, strict=True)
                results.append(function(*(self.pick(a, which) if x == 0 else a for x, a in pairs)))
            return jax.tree.map(lambda *parts: jnp.stack(parts), *results)

        return run

    def pick(self, tree: Any, which: int) -> Any:
        """One seed's part of a tree of results; `which` counts from 0."""
        return tree if len(self.numbers) == 1 else jax.tree.map(lambda a: a[which], tree)

    def split(self, tree: Any) -> list[Any]:
        """Every seed's part of a tree of results, as numpy arrays."""
        tree = jax.tree.map(np.asarray, jax.device_get(tree))
        return [self.pick(tree, which) for which in range(len(self.numbers))]

    def of_run(self, tree: Any, which: int) -> Any:
        """One run's part of a state, as it has it alone; `which` counts runs from 0."""
        return _part(tree, which, self._each) if self.hyper else tree

    def joined(self, trees: Sequence[Any]) -> Any:
        """The state of all runs, of which `of_run` returns these."""
        if not self.hyper:
            return trees[0]
        join = jnp.stack if self._each == 1 else jnp.concatenate
        return jax.tree.map(lambda *parts: join(parts), *trees)


@partial(jax.jit, static_argnames="each")
def _part(tree: Any, which: int, each: int) -> Any:
    def cut(array: Any) -> Any:
        own = jax.lax.dynamic_slice_in_dim(array, which * each, each)
        return own if each > 1 else own[0]

    return jax.tree.map(cut, tree)
