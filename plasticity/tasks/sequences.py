"""What tasks of symbols share: sequences of random length, read symbol by symbol.

An episode is a sequence, then padding up to T steps. Its length is uniform on a range, in units by
which the sequences of a language grow. Training, and validation and test, have ranges of their own:
a net that has learned the state of the language answers longer sequences too.

Inputs are tokens: 0 for padding, then those of the language. An answer is one of O, or a yes or no
for each of O. It counts at every step of the sequence, or at the last one only.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.settings import Settings, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import correct
from plasticity.types import Array, Key

PAD = 0


@dataclasses.dataclass(frozen=True)
class LengthSettings(Settings):
    """Lengths of sequences. Where a sequence has one answer, it counts as a symbol."""

    section = "task"
    shortest: int = size(3, "shortest sequence of training", low=3)
    longest: int = size(40, "longest sequence of training", low=3)
    test_shortest: int = size(40, "shortest sequence of validation and test", low=3)
    test_longest: int = size(256, "longest sequence of validation and test", low=3)

    def check(self) -> None:
        """Raises ValueError for an empty range of lengths."""
        for low, high in (("shortest", "longest"), ("test_shortest", "test_longest")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"task.{low}={getattr(self, low)} must be at most "
                    f"task.{high}={getattr(self, high)}"
                )


class Answers(NamedTuple):
    """How answers are trained and scored.

    loss: (answers [T, O], targets) -> [T]. right: (answers, targets) -> [T], or [T, O], of bool.
    """

    loss: Callable[[Array, Array], Array]
    right: Callable[[Array, Array], Array]


def _yes_or_no_loss(answers: Array, targets: Array) -> Array:
    return optax.sigmoid_binary_cross_entropy(answers, targets).mean(-1)


# Targets: [T] int32, the answer; [T, O], 1 for yes and 0 for no.
ONE_OF = Answers(
    optax.softmax_cross_entropy_with_integer_labels,
    correct,
)
YES_OR_NO = Answers(_yes_or_no_loss, lambda answers, targets: (answers > 0) == (targets > 0))


class Language(NamedTuple):
    """What its sequences and answers are.

    tokens, outputs: I and O.
    draw: (key, n, T) -> the tokens [T] of a sequence of n symbols, and the targets [T, ...]; what
      stands behind the n symbols has no meaning.
    chance: (fewest, most units) -> chance level of the headline metric.
    metrics: (right, weights [T], chance) -> {name: []}, of one episode.
    main_metric: the headline metric.
    answers: the kind of its answers.
    every_step: whether each step counts in the loss, or the last one only.
    unit: symbols that a sequence grows by.
    hidden: symbols that a length counts and that are no input: 1 for the answer, or 0.
    starts: the sequence begins at one of so many steps, all equally likely, after padding.
    """

    tokens: int
    outputs: int
    draw: Callable[[Key, Array, int], tuple[Array, Array]]
    chance: Callable[[int, int], float]
    metrics: Callable[[Array, Array, float], dict[str, Array]]
    main_metric: str = "accuracy"
    answers: Answers = ONE_OF
    every_step: bool = False
    unit: int = 1
    hidden: int = 0
    starts: int = 1


def at_the_last_step(right: Array, weights: Array, chance: float) -> dict[str, Array]:
    """Metrics of the answer [T] at the last step that counts."""
    last = jnp.where(weights > 0, jnp.arange(len(weights)), 0).max()
    accuracy = right[last].astype(jnp.float32)
    return {"accuracy": accuracy, "scaled_accuracy": (accuracy - chance) / (1 - chance)}


def task_of(language: Language, shortest: int, longest: int) -> Task:
    """The task of sequences of `shortest` to `longest` symbols, rounded down to whole units."""
    unit, hidden = language.unit, language.hidden
    fewest, most = (shortest - hidden) // unit, (longest - hidden) // unit
    chance = language.chance(fewest, most)
    steps = longest - hidden + language.starts - 1

    def sample(key: Key, data: None = None) -> Episode:
        del data
        length_key, key = jax.random.split(key)
        length = unit * jax.random.randint(length_key, (), fewest, most + 1)
        tokens, targets = language.draw(key, length, steps)
        start = jax.random.randint(jax.random.fold_in(length_key, 1), (), 0, language.starts)
        at = jnp.arange(steps) - start  # where it is negative, an answer has no meaning either
        inside = (at >= 0) & (at < length)
        counts = inside if language.every_step else at == length - 1
        tokens = jnp.where(inside, tokens[at], PAD)
        return Episode(tokens, targets[at], counts.astype(jnp.float32))

    def loss(answers: Array, episode: Episode) -> Array:
        return language.answers.loss(answers, episode.targets)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        right = language.answers.right(answers, episode.targets)
        return language.metrics(right, episode.weights, chance)

    return Task(
        inputs=language.tokens,
        outputs=language.outputs,
        steps=steps,
        main_metric=language.main_metric,
        chance=chance,
        sample=sample,
        loss=loss,
        metrics=metrics,
        phases=(("sequence", steps),),
        tokens=True,
    )


def in_training_and_test(language: Language, s: LengthSettings) -> Task:
    """The task of the longer sequences, trained on the shorter ones."""
    training = task_of(language, s.shortest, s.longest)
    return task_of(language, s.test_shortest, s.test_longest)._replace(training=training)
