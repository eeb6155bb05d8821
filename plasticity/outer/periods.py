"""Slow weights that change at several speeds: a part is updated once per period of steps.

  every C steps   w <- w + step of the mean of the last C gradients;   otherwise w stays

Each part has an optimizer of its own, whose state changes with its weights, and whose learning rate
is that of the step at which it changes.

Source: the outer form of a continuum memory, Behrouz et al. 2025 (arXiv 2512.24695), equation 71.
Departure: a mean of gradients, where the source has a sum, so that one rate suits all periods.
"""

from collections.abc import Callable

import jax
import optax

from plasticity.types import PyTree

Periods = tuple[tuple[str, int], ...]  # of parts of a network


def parsed(value: str) -> Periods:
    """Part and period of each pair in `optimizer.periods`, such as "fc1:4,block_1:16".

    Raises:
      ValueError: it is no list of such pairs, or names a part twice.
    """
    pairs = [pair.strip().partition(":") for pair in value.split(",")] if value else []
    whole = all(
        part and count.isascii() and count.isdigit() and int(count) for part, _, count in pairs
    )
    if not whole or len({part for part, *_ in pairs}) < len(pairs):
        raise ValueError(
            f"optimizer.periods={value!r} must be PART:STEPS pairs joined by commas, each part "
            "once, as in fc1:4,block_1:16"
        )
    return tuple((part, int(count)) for part, _, count in pairs)


def labels(periods: Periods, params: PyTree) -> PyTree:
    """The period of each parameter: that of the last pair whose part is in its path, else 1.

    Raises:
      ValueError: a part is no name of a module or parameter.
    """
    known: set[str] = set()

    def label(path: tuple[object, ...], leaf: object) -> int:
        del leaf
        names = {str(getattr(key, "key", getattr(key, "name", ""))) for key in path}
        known.update(names)
        return [1, *(count for part, count in periods if part in names)][-1]

    found = jax.tree_util.tree_map_with_path(label, params)
    for part, _ in periods:
        if part not in known:
            raise ValueError(
                f"optimizer.periods: {part!r} is no part of this network, whose parts are "
                f"{', '.join(sorted(known - {''}))}"
            )
    return found


def by_periods(
    periods: Periods, step: Callable[[int], optax.GradientTransformation]
) -> optax.GradientTransformation:
    """The whole step, from `step`: (period) -> the step of the parameters with this period."""
    if not periods:
        return step(1)
    ways = {}
    for count in {1, *(count for _, count in periods)}:
        every = optax.MultiSteps(step(count), count).gradient_transformation()
        ways[count] = step(1) if count == 1 else every
    return optax.partition(ways, lambda params: labels(periods, params))
