"""How well an untrained memory keeps items that were written: simulated, and expected."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.experiments.probing.crosstalk import (
    KEYS,
    Spread,
    delta_error,
    hebb_error,
    random_units,
)
from plasticity.experiments.probing.untrained import Untrained
from plasticity.types import Array, Key

TOGETHER = 16  # draws at a time: more need more memory, and are not faster on a CPU
OUTLIER = 10.0  # the length of a value that is an outlier; the others have 1


class Sizes(NamedTuple):
    """Of one simulation."""

    items: int  # N
    dim: int  # d


class Drawn(NamedTuple):
    """What is drawn, how often, and by which seed.

    keys: their kind, a name in `KEYS`.
    rewritten: every key is written twice, with a new value after all have had their first ones.
    outliers: the share of items, rounded, whose value has the length `OUTLIER`; at most .5.
    """

    keys: str = "random"
    spread: Spread = Spread()
    draws: int = 200
    seed: int = 0
    rewritten: bool = False
    outliers: float = 0.0


class Found(NamedTuple):
    """Of every item but the outliers in every draw, [draws, N], the oldest first."""

    mse: np.ndarray  # |M k - v|^2, where v is the last value that was written for k
    accuracy: np.ndarray  # whether it is the nearest of all values to the answer, 0 or 1


def simulation(learner: Untrained, sizes: Sizes, drawn: Drawn) -> Callable[[int], Found]:
    """Writes all items of a draw and asks for them. The draws are the same for all rules.

    Returns:
      What is found by a seed, which replaces that of `drawn`; compiled once for all seeds.
    """
    (items, dim), strange = sizes, round(drawn.outliers * sizes.items)

    def one(key: Key) -> tuple[Array, Array]:
        first, second, third, fourth = jax.random.split(key, 4)
        keys = KEYS[drawn.keys].draw(first, items, dim, drawn.spread)
        values = random_units(second, items, dim)
        order = jax.random.permutation(third, items)
        values = values.at[order[:strange]].multiply(OUTLIER)
        clean = jnp.sort(order[strange:])
        writes, targets = keys, values
        if drawn.rewritten:
            old = random_units(fourth, items, dim)
            writes, targets = jnp.concatenate([keys, keys]), jnp.concatenate([old, values])
        answers = learner.asked(learner.written(writes, targets), keys[clean], dim)
        nearness = answers @ targets.T - (targets**2).sum(-1) / 2
        right = nearness.argmax(-1) == clean + len(targets) - items
        return ((answers - values[clean]) ** 2).sum(-1), right

    compiled = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=TOGETHER))

    def found(seed: int) -> Found:
        error, right = compiled(jax.random.split(jax.random.key(seed), drawn.draws))
        return Found(np.asarray(error), np.asarray(right, float))

    return found


def mean_and_error(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over draws, axis 0, and its standard error."""
    return draws.mean(0), draws.std(0, ddof=1) / math.sqrt(len(draws))


def _hebb(learner: Untrained, sizes: Sizes, drawn: Drawn) -> np.ndarray | None:
    if learner.settings.get("normalised"):
        return None
    overlap = KEYS[drawn.keys].overlap(sizes.dim, drawn.spread)
    return hebb_error(sizes.items, overlap, learner.numbers.rate, learner.numbers.keep)


def _delta(learner: Untrained, sizes: Sizes, drawn: Drawn) -> np.ndarray | None:
    known = learner.numbers.rate == 1 and drawn.keys == "random"
    return delta_error(*sizes) if known else None


EXPECTED = {"hebb": _hebb, "delta": _delta}


def expected(learner: Untrained, sizes: Sizes, drawn: Drawn) -> np.ndarray | None:
    """The exact expectation of the error of each item, [N]; None: no formula is known."""
    formula = EXPECTED.get(learner.name)
    known = formula and not (drawn.rewritten or drawn.outliers)
    return formula(learner, sizes, drawn) if formula and known else None


def record(learner: Untrained, sizes: Sizes, drawn: Drawn, found: Found) -> dict[str, Any]:
    """What a simulation says of a rule: of all items, and by age."""
    known = expected(learner, sizes, drawn)
    cell: dict[str, Any] = {"rule": learner.entry, "gates": learner.used} | sizes._asdict()
    for name, draws in found._asdict().items():
        for what, array in (("", draws.mean(1)), ("_by_age", draws)):
            mean, error = mean_and_error(array)
            cell |= {f"{name}{what}": shown(mean), f"{name}_standard_error{what}": shown(error)}
    if known is not None:
        cell |= {"expected": shown(known.mean()), "expected_by_age": shown(known)}
    return cell


def shown(numbers: Any) -> Any:
    """Numbers with six digits; None: one that is not finite, as of a memory that diverged."""
    if np.ndim(numbers):
        return [shown(number) for number in numbers]
    return float(f"{numbers:.6g}") if math.isfinite(numbers) else None
