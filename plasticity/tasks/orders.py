"""The two orders of queries after a support: independent of each other, or in one stream."""

import jax

from plasticity.task import Episode
from plasticity.types import Array, PyTree

# independent: every query follows the support directly, as if it were the only one.
# stream: queries are further steps of the episode, which read and write fast weights too.
ORDERS = ("independent", "stream")


def lay_out(order: str, support: int, inputs: PyTree, targets: PyTree, weights: Array) -> Episode:
    """An episode from stacked steps [S + Q, ...]: the `support`, S steps, then the queries."""
    if order == "stream":
        return Episode(inputs, targets, weights)
    shown = jax.tree.map(lambda a: a[:support], inputs)
    asked = jax.tree.map(lambda a: a[support:], inputs)
    return Episode(shown, targets, weights, asked)


def steps(order: str, support: int, queries: int) -> int:
    """The number of steps of an episode, T."""
    return support + (queries if order == "stream" else 0)


def phases(order: str, support: int, queries: int) -> tuple[tuple[str, int], ...]:
    """Names and lengths of the phases; independent queries take no step."""
    return ("support", support), ("query", steps(order, support, queries) - support)
