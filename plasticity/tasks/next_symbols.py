"""Languages of strings: at each step, answer which symbols may come next.

An episode is a string of the language, then padding. After each symbol the answer is a set: each
symbol with which what was read can go on to a string of the language, and `end` if it is one
already.

  aa_star     (aa)*     a a a a         answers a | a end | a | a end
  abab_star   (abab)*   a b a b         b | a | b | a end
  anbn        a^n b^n   a a b b         a b | a b | b | end
  anbncn      a^n b^n c^n               the same, with c
  shuffle2    brackets of two types, each type balanced on its own: ( [ ) ]

A bracket may always open; one of a type may close while one of that type is open, and the string
may end while none is. Strings of shuffle2 open a bracket with probability .4, of either type, and
close one of the open ones, all equally likely; they must open where none is open, and close where
that is needed to end in time. Both types are open at a quarter of the steps of a training string,
and at a third of a test string's.

Lengths are uniform from `shortest` to `longest` in training, and from `test_shortest` to
`test_longest` in validation and test, rounded down to those of the language.

Inputs are tokens: 0 for padding, then the symbols, in the order a b c or ( ) [ ]. There is an
output for each symbol, then one for `end`: positive for yes. Loss: mean binary cross-entropy.

Metrics: string_accuracy, of strings answered without error at any step; step_accuracy, of steps.
The headline metric is string_accuracy, as published, and for shuffle2 step_accuracy. The best
input-independent predictor knows the number of the step. Its scores, computed exactly:

  aa_star, abab_star   1/2, 1/4: one of 2 or 4 first steps is guessed
  anbn, anbncn         1 / (number of values of n): one n is guessed
  shuffle2             at each step, the set that is most frequent among all strings

Optimum: 1.

Why sets and not membership: sets need no strings outside the language, which are told by a shortcut
unless they are chosen for each language, and a string has as many answers as symbols. In (aa)* and
(abab)* the length is all that membership depends on.

Source: Bhattamishra et al. 2020 (arXiv 2009.11264) and its code, after Suzgun et al. 2019 (arXiv
1906.03648) and Gers and Schmidhuber 2001; trained on up to 50 symbols, tested from 51 on. In
Hahn 2020 (arXiv 1906.06755) languages of this kind bound what self-attention can do.
Departures: strings of (aa)* and (abab)* begin at one of the first 2 or 4 steps, all equally likely,
so that learned positions do not give the answers away; `end` is an answer in every language;
cross-entropy, not squared error; brackets of shuffle2 of two types may cross.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.factory import Factory
from plasticity.settings import size
from plasticity.task import Task
from plasticity.tasks.sequences import YES_OR_NO, Language, LengthSettings, in_training_and_test
from plasticity.types import Array, Key

SYMBOLS = 1  # the token of the first symbol
OPEN = 0.4  # shuffle2: the probability that a bracket opens where it may open or close


@dataclasses.dataclass(frozen=True)
class NextSymbolSettings(LengthSettings):
    """Lengths of strings. The longest unit by which one grows, abab, has four symbols."""

    shortest: int = size(4, "shortest string of training", low=4)
    longest: int = size(50, "longest string of training", low=4)
    test_shortest: int = size(52, "shortest string of validation and test", low=4)
    test_longest: int = size(100, "longest string of validation and test", low=4)


def accuracies(right: Array, weights: Array, chance: float) -> dict[str, Array]:
    """Metrics of sets; right: [T, O]."""
    del chance
    step = right.all(-1)
    return {
        "string_accuracy": (step | (weights == 0)).all().astype(jnp.float32),
        "step_accuracy": (step * weights).sum() / weights.sum(),
    }


strings = partial(
    Language, metrics=accuracies, main_metric="string_accuracy", answers=YES_OR_NO, every_step=True
)


def _repeated(word: tuple[int, ...], s: NextSymbolSettings) -> Task:
    """Strings that repeat a word, whose symbols are numbers from 0 on."""
    period, end = len(word), max(word) + 1
    sets = np.zeros((period, end + 1))  # after each symbol of the word
    sets[np.arange(period), np.roll(word, -1)] = 1
    sets[-1, end] = 1

    def draw(key: Key, length: Array, steps: int) -> tuple[Array, Array]:
        del key, length
        at = jnp.arange(steps) % period
        return SYMBOLS + jnp.array(word)[at], jnp.asarray(sets, jnp.float32)[at]

    language = strings(
        tokens=SYMBOLS + end,
        outputs=end + 1,
        draw=draw,
        chance=lambda fewest, most: 1 / period,
        unit=period,
        starts=period,
    )
    return in_training_and_test(language, s)


def _counted(letters: int, s: NextSymbolSettings) -> Task:
    """Strings of as many of the first letter as of the second one, and so on."""

    def draw(key: Key, length: Array, steps: int) -> tuple[Array, Array]:
        del key
        count, step = length // letters, jnp.arange(steps)
        letter = (step // count).clip(0, letters - 1)
        following = ((step + 1) // count).clip(0, letters)  # `letters`: the end
        first = step < count  # after which any number of the first letter may follow
        following = jnp.where(first, 1, following)
        sets = jax.nn.one_hot(following, letters + 1)
        return SYMBOLS + letter, sets.at[:, 0].set(first.astype(jnp.float32))

    language = strings(
        tokens=SYMBOLS + letters,
        outputs=letters + 1,
        draw=draw,
        chance=lambda fewest, most: 1 / (most - fewest + 1),
        unit=letters,
    )
    return in_training_and_test(language, s)


def _shuffle2(s: NextSymbolSettings) -> Task:
    def draw(key: Key, length: Array, steps: int) -> tuple[Array, Array]:
        def step(depths: Array, x: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
            left, (open_draw, new_draw, old_draw) = x
            depth = depths.sum()
            opens = (depth == 0) | ((depth < left) & (open_draw < OPEN))
            new, old = new_draw < 0.5, old_draw * depth >= depths[0]
            second = jnp.where(opens, new, old).astype(jnp.int32)
            depths = depths.at[second].add(jnp.where(opens, 1, -1))
            token = SYMBOLS + 2 * second + jnp.where(opens, 0, 1)
            one, two = depths > 0
            return depths, (token, jnp.stack([True, one, True, two, ~(one | two)]))

        draws = jax.random.uniform(key, (steps, 3))
        nothing = jnp.zeros(2, jnp.int32)
        _, (tokens, sets) = jax.lax.scan(step, nothing, (length - jnp.arange(steps), draws))
        return tokens, sets.astype(jnp.float32)

    language = strings(
        tokens=SYMBOLS + 4,
        outputs=5,
        draw=draw,
        chance=_most_frequent_sets,
        main_metric="step_accuracy",
        unit=2,
    )
    return in_training_and_test(language, s)


def _most_frequent_sets(fewest: int, most: int) -> float:
    """step_accuracy of the most frequent set at each step, for `fewest` to `most` pairs.

    Whatever the depth, each open bracket is of either type with probability 1/2, independently: it
    is so when a bracket opens, and which one closes does not depend on its type.
    """
    lengths = 2 * np.arange(fewest, most + 1)[:, None]
    depth = np.arange(most + 2)  # of both types together
    probability = np.zeros((len(lengths), len(depth)))  # [length, depth]
    probability[:, 0] = 1
    one_type = np.where(depth > 0, 0.5**depth, 0)  # all open brackets are of the first type
    sets = np.stack([depth == 0, one_type, one_type, (depth > 0) - 2 * one_type], 1)
    score = 0.0
    for step in range(lengths.max()):
        left = lengths - step
        opens = np.where(depth == 0, 1.0, np.where(depth < left, OPEN, 0.0)) * probability
        closes = probability - opens
        probability = np.zeros_like(probability)
        probability[:, 1:] += opens[:, :-1]
        probability[:, :-1] += closes[:, 1:]
        weights = (left > 0) / lengths / len(lengths)
        score += (weights * (probability @ sets)).sum(0).max()
    return float(score)


aa_star = Factory(NextSymbolSettings, partial(_repeated, (0, 0)))
abab_star = Factory(NextSymbolSettings, partial(_repeated, (0, 1, 0, 1)))
anbn = Factory(NextSymbolSettings, partial(_counted, 2))
anbncn = Factory(NextSymbolSettings, partial(_counted, 3))
shuffle2 = Factory(NextSymbolSettings, _shuffle2)
