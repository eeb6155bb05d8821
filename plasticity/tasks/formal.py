"""Formal languages: read a sequence of symbols, and answer once, at its last symbol.

An episode is a sequence of random length, then padding. Lengths count the answer, as published:

  parity     fair bits, one fewer than the length; the answer is their sum modulo 2
  modular    n_1 op n_2 op .. n_k =   of numbers below `modulus` and operators + - *, all equally
             likely; the answer is the value modulo `modulus`, * before + and -. Lengths are odd

Training has lengths from `shortest` to `longest`, validation and test from `test_shortest` to
`test_longest`, all equally likely: a net that has learned the state of the language answers longer
sequences too.

Inputs are tokens: 0 for padding; parity: 1 + bit; modular: 1, 2, 3 for + - *, 4 for =, 5 + number.

The headline metric is accuracy; scaled_accuracy = (accuracy - chance) / (1 - chance) is published.
Chance level of parity: 1/2. Of modular: the frequency of the value 0, which is the most frequent
one because a product with 0 is 0. It is exact, and within .001 of 1 / modulus from ten numbers on.
Optimum: 1.

Source: Deletang et al. 2023 (arXiv 2207.02098); lengths, tokens and the single answer: the code of
Beck et al. 2024 (arXiv 2405.04517), with modulus 5, and Grazzi et al. 2024 (arXiv 2411.12537).
Departure: there, the answer is one of all tokens; here, one of two bits, or of the numbers.
"""

import dataclasses
from functools import partial

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

BITS = 1  # parity: the token of the bit 0
PLUS, MINUS, TIMES, EQUALS, NUMBERS = 1, 2, 3, 4, 5  # modular; NUMBERS: the token of the number 0


@dataclasses.dataclass(frozen=True)
class ModularSettings(LengthSettings):
    """Settings of modular arithmetic."""

    modulus: int = size(5, "numbers: from 0 up to it", low=2, high=100)


def _parity(s: LengthSettings) -> Task:
    def draw(key: Key, length: Array, steps: int) -> tuple[Array, Array]:
        del length
        bits = jax.random.randint(key, (steps,), 0, 2)
        return BITS + bits, jnp.cumsum(bits) % 2

    language = Language(
        tokens=BITS + 2,
        outputs=2,
        draw=draw,
        chance=lambda fewest, most: 0.5,
        metrics=at_the_last_step,
        hidden=1,
    )
    return in_training_and_test(language, s)


def _modular(s: ModularSettings) -> Task:
    def draw(key: Key, length: Array, steps: int) -> tuple[Array, Array]:
        number_key, operator_key = jax.random.split(key)
        pairs = (steps + 1) // 2
        numbers = jax.random.randint(number_key, (pairs,), 0, s.modulus)
        operators = jax.random.randint(operator_key, (pairs,), PLUS, TIMES + 1)
        tokens = jnp.stack([NUMBERS + numbers, operators], -1).ravel()[:steps]
        values = evaluated(numbers, operators, s.modulus)
        return tokens.at[length - 1].set(EQUALS), jnp.repeat(values, 2)[:steps]

    language = Language(
        tokens=NUMBERS + s.modulus,
        outputs=s.modulus,
        draw=draw,
        chance=partial(_frequency_of_zero, s.modulus),
        metrics=at_the_last_step,
        unit=2,
        hidden=1,
    )
    return in_training_and_test(language, s)


def evaluated(numbers: Array, operators: Array, modulus: int) -> Array:
    """Returns the value modulo `modulus` of each expression that starts with the first number.

    Args:
      numbers, operators: [K] int32; operator k, a token, stands behind number k.
      modulus: of the arithmetic.
    """

    def step(state: tuple[Array, Array], x: tuple[Array, Array]) -> tuple[tuple, Array]:
        total, term = state  # the sum of the terms before the last one, and the last one
        operator, number = x
        times = operator == TIMES
        total = jnp.where(times, total, total + term) % modulus
        term = jnp.where(times, term, jnp.where(operator == MINUS, -1, 1)) * number % modulus
        return (total, term), (total + term) % modulus

    nothing = jnp.zeros((), numbers.dtype)
    before = jnp.concatenate([jnp.full((1,), PLUS, operators.dtype), operators[:-1]])
    return jax.lax.scan(step, (nothing, nothing), (before, numbers))[1]


def _frequency_of_zero(modulus: int, fewest: int, most: int) -> float:
    """The frequency of the value 0 in expressions of `fewest` to `most` numbers."""
    rest = np.arange(modulus)
    uniform = np.full(modulus, 1 / modulus)
    product = np.zeros((modulus, modulus))  # probabilities [term, the term times a number]
    for number in rest:
        product[rest, rest * number % modulus] += 1 / modulus
    state = np.zeros((modulus, modulus))  # probabilities [sum of the earlier terms, last term]
    state[0] = uniform
    found = []
    for _ in range(most):
        value = np.array([state[rest, (v - rest) % modulus].sum() for v in rest])
        found.append(value[0])
        state = state @ product / 3 + 2 / 3 * np.outer(value, uniform)
    return float(np.mean(found[fewest - 1 :]))


parity = Factory(LengthSettings, _parity)
modular = Factory(ModularSettings, _modular)
