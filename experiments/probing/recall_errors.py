"""How well an untrained memory keeps items that were written once: simulated, and expected."""

import math
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


class Sizes(NamedTuple):
    """Of one simulation."""

    items: int  # N
    dim: int  # d


class Drawn(NamedTuple):
    """What is drawn: the kind of keys, a name in `KEYS`, how often, and by which seed."""

    keys: str = "random"
    spread: Spread = Spread()
    draws: int = 200
    seed: int = 0


class Found(NamedTuple):
    """Of every item in every draw, [draws, N], the oldest first."""

    mse: np.ndarray  # |M k - v|^2
    accuracy: np.ndarray  # whether the value nearest to the answer is its own, 0 or 1


def simulate(learner: Untrained, sizes: Sizes, drawn: Drawn) -> Found:
    """Writes all items of a draw and asks for them. The draws are the same for all rules."""
    items, dim = sizes

    def one(key: Key) -> tuple[Array, Array]:
        first, second = jax.random.split(key)
        keys = KEYS[drawn.keys].draw(first, items, dim, drawn.spread)
        values = random_units(second, items, dim)
        answers = learner.asked(learner.written(keys, values), keys, dim)
        nearest = (answers @ values.T).argmax(-1)  # all values have the same length
        return ((answers - values) ** 2).sum(-1), nearest == jnp.arange(items)

    keys = jax.random.split(jax.random.key(drawn.seed), drawn.draws)
    error, right = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=TOGETHER))(keys)
    return Found(np.asarray(error), np.asarray(right, float))


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
    return formula(learner, sizes, drawn) if formula else None


def record(learner: Untrained, sizes: Sizes, drawn: Drawn) -> dict[str, Any]:
    """What a simulation says of a rule: of all items, and by age."""
    found = simulate(learner, sizes, drawn)
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
