"""Keys that disturb one another in a memory, and the errors that they cause, in expectation.

N items, key k_i and value v_i of unit length in d dimensions, are written once each, from the
oldest, i = 1, to the newest, i = N, into an empty memory M. All are asked for: the error of an item
is |M k_i - v_i|^2. Values are drawn on their own, evenly from all directions. Errors are exact
expectations over the draws, by age.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from plasticity.features import unit
from plasticity.types import Array, Key


class Spread(NamedTuple):
    """What some kinds of keys are given beside N and d."""

    common: float = 0.0  # the share of |key|^2 that all keys have in common
    winners: int = 1  # entries of a sparse key that are not 0


def random_units(key: Key, items: int, dim: int) -> Array:
    """Directions [N, d], drawn evenly."""
    return unit(jax.random.normal(key, (items, dim)))


def _random(key: Key, items: int, dim: int, spread: Spread) -> Array:
    del spread
    return random_units(key, items, dim)


def _correlated(key: Key, items: int, dim: int, spread: Spread) -> Array:
    """A common direction, and directions of their own that are orthogonal to it."""
    first, second = jax.random.split(key)
    shared = random_units(first, 1, dim)
    drawn = jax.random.normal(second, (items, dim))
    own = unit(drawn - (drawn @ shared.T) * shared)
    return math.sqrt(spread.common) * shared + math.sqrt(1 - spread.common) * own


def _sparse(key: Key, items: int, dim: int, spread: Spread) -> Array:
    """The largest entries of a random code become 1 / sqrt(winners), the others 0."""
    k = spread.winners
    _, winners = jax.lax.top_k(jax.random.normal(key, (items, dim)), k)
    return jax.nn.one_hot(winners, dim).sum(1) / math.sqrt(k)


class Keys(NamedTuple):
    """A kind of keys.

    draw: (random key, N, d, spread) -> keys [N, d] of unit length.
    overlap: (d, spread) -> the expected square of the product of two keys.
    """

    draw: Callable[[Key, int, int, Spread], Array]
    overlap: Callable[[int, Spread], float]


def _correlated_overlap(dim: int, spread: Spread) -> float:
    return spread.common**2 + (1 - spread.common) ** 2 / (dim - 1)


def _sparse_overlap(dim: int, spread: Spread) -> float:
    """Of the number of common winners, which is hypergeometric, over `winners`."""
    return (1 + (spread.winners - 1) ** 2 / (dim - 1)) / dim


def _positive_overlap(dim: int, spread: Spread) -> float:
    """Two entries of a key have the mean product 2 / (pi d)."""
    del spread
    return (1 + (dim - 1) * (2 / math.pi) ** 2) / dim


KEYS = {
    "random": Keys(_random, lambda dim, spread: 1 / dim),
    "correlated": Keys(_correlated, _correlated_overlap),
    "sparse": Keys(_sparse, _sparse_overlap),
    "positive": Keys(lambda *given: abs(_random(*given)), _positive_overlap),
}


def hebb_error(items: int, overlap: float, rate: float = 1.0, keep: float = 1.0) -> np.ndarray:
    """Of M <- keep M + rate v k^T, [N]: what an item has lost, and what the others have added."""
    left = rate * keep ** np.arange(items - 1.0, -1, -1)  # of each item after the last write
    return (left - 1) ** 2 + overlap * ((left**2).sum() - left**2)


def delta_error(items: int, dim: int) -> np.ndarray:
    """Of M <- M + (v - M k) k^T with random keys, [N].

    M k_i is v_i just after write i. Let P be the product of the projections of the m writes after
    it, rho = 1 - 1/d, and A_m the mean of (k_i^T P k_i)^2; that of k_i^T P k_i and of |P k_i|^2 is
    rho^m. Then the loss of the own value is A_m - 2 rho^m + 1, what the items before had written
    adds (rho^m - A_m)(1 - rho^(i-1)), and what the later ones wrote adds 1 - rho^m.
    """
    rho, spread = 1 - 1 / dim, 1 / (dim * (dim + 2))
    kept = np.ones(items)  # A_0, A_1, ...
    for m in range(items - 1):
        kept[m + 1] = kept[m] * (1 - 2 / dim + 2 * spread) + rho**m * spread
    before = np.arange(items)  # i - 1
    later = before[::-1]  # m
    kept, once = kept[later], rho**later
    return kept - 2 * once + 1 + (once - kept) * (1 - rho**before) + 1 - once


def least_squares_error(items: int, dim: int) -> float:
    """Of the best matrix for all items, the one of least norm, if d of the keys are independent."""
    return max(0.0, 1 - dim / items)


def false_match(size: int, winners: int, overlap: int) -> float:
    """The probability that two random codes, k of n, have at least so many winners in common."""
    among = range(overlap, winners + 1)
    ways = sum(math.comb(winners, b) * math.comb(size - winners, winners - b) for b in among)
    return ways / math.comb(size, winners)
