"""Word problems of permutation groups: at each step, answer the product of what was read so far.

An episode is a sequence of permutations of `objects` objects, then padding. The answer after the
permutations g_1 .. g_t is the permutation that does g_1 first, then g_2, and so on.

  objects = 3   S3, 6 elements: solvable, the group of a triangle
  objects = 4   S4, 24 elements: solvable
  objects = 5   S5, 120 elements: not solvable, its word problem is complete for NC1. Unless
                TC0 = NC1, no transformer and no linear recurrence with diagonal transitions, of a
                constant number of layers, solves it at all lengths

Sequences hold the permutations that move at most `moved` objects, all equally likely. With
moved = 2 these are swaps and the identity: one step of the delta rule with a rate of 2 is a
reflection, which is what a swap is.

Lengths are uniform from `shortest` to `longest` in training, and from `test_shortest` to
`test_longest` in validation and test.

Inputs are tokens: 0 for padding, 1 + the number of a permutation among those that sequences hold.
Permutations are in the order of their images of 0, 1, 2, ..; the identity is the first.

Every step counts in the loss. The headline metric is accuracy, at the last step of a sequence.
Chance level: 1 / (number of elements), and slightly above it where not all permutations occur: the
frequency of the product that is most frequent after so many steps, computed exactly. Optimum: 1.

Source: Merrill et al. 2024 (arXiv 2404.08819), all elements, an answer at each step; Grazzi et al.
2024 (arXiv 2411.12537), trained on short sequences and tested on longer ones, and with
permutations that move few objects.
Departures: accuracy is published for each length; here it is the mean over the lengths of the test.
Lengths are those of parity.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.factory import Factory
from plasticity.settings import size
from plasticity.task import Task
from plasticity.tasks.sequences import (
    Language,
    LengthSettings,
    at_the_last_step,
    in_training_and_test,
)
from plasticity.types import Array, Key

ELEMENTS = 1  # the token of the identity


@dataclasses.dataclass(frozen=True)
class PermutationSettings(LengthSettings):
    """Settings of the word problem."""

    objects: int = size(5, "objects that are permuted: 3, 4, 5 for S3, S4, S5", low=2, high=5)
    moved: int = size(5, "most objects that one permutation moves; 2: swaps", low=2, high=5)


def products(objects: int, moved: int) -> np.ndarray:
    """The table [G, M] of products: of each permutation, and then each one that sequences hold."""
    group = list(itertools.permutations(range(objects)))
    number = {element: k for k, element in enumerate(group)}
    moves = [g for g in group if sum(image != k for k, image in enumerate(g)) <= moved]
    return np.array([[number[tuple(m[image] for image in g)] for m in moves] for g in group])


def _permutations(s: PermutationSettings) -> Task:
    table = products(s.objects, s.moved)
    elements, moves = table.shape

    def draw(key: Key, length: Array, steps: int) -> tuple[Array, Array]:
        del length

        def step(product: Array, move: Array) -> tuple[Array, Array]:
            product = jnp.asarray(table, jnp.int32)[product, move]
            return product, product

        drawn = jax.random.randint(key, (steps,), 0, moves)
        return ELEMENTS + drawn, jax.lax.scan(step, jnp.zeros((), jnp.int32), drawn)[1]

    def chance(fewest: int, most: int) -> float:
        probability = np.eye(elements)[0]  # of each product
        largest = []
        for _ in range(most):
            shares = np.repeat(probability / moves, moves)
            probability = np.bincount(table.ravel(), shares, elements)
            largest.append(probability.max())
        return float(np.mean(largest[fewest - 1 :]))

    language = Language(
        tokens=ELEMENTS + moves,
        outputs=elements,
        draw=draw,
        chance=chance,
        metrics=at_the_last_step,
        every_step=True,
    )
    return in_training_and_test(language, s)


permutations = Factory(PermutationSettings, _permutations)
