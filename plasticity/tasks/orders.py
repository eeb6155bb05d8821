"""The two ways to ask, after a support: each query by itself, or one after the other."""

import jax

from plasticity.types import Array, Episode, PyTree

# independent: every query is asked after the support, as if it were the only one.
# stream: queries follow as further steps, which see, and rewrite, what came before.
ORDERS = ("independent", "stream")


def lay_out(order: str, support: int, inputs: PyTree, targets: PyTree, weights: Array) -> Episode:
    """An episode from the stack of its `support` first steps and its queries."""
    if order == "stream":
        return Episode(inputs, targets, weights)
    shown = jax.tree.map(lambda a: a[:support], inputs)
    asked = jax.tree.map(lambda a: a[support:], inputs)
    return Episode(shown, targets, weights, asked)


def steps(order: str, support: int, queries: int) -> int:
    """T."""
    return support + (queries if order == "stream" else 0)


def phases(order: str, support: int, queries: int) -> tuple[tuple[str, int], ...]:
    """What happens in T steps: queries, if they follow in a stream, after the support."""
    return ("support", support), ("query", steps(order, support, queries) - support)
