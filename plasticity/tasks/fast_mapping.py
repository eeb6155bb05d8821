"""Fast mapping: a word and an object are bound once, and asked about in either direction.

The support shows n objects, one a step, each with a word. An object is a shape and a colour; no two
objects of an episode are equal, and no two have the same word. Which word an object has is drawn
anew in each episode: it can only be remembered. Then come queries, each on its own, with a
question, whose meaning is the same in all episodes, so that slow weights learn it:

  name     a shape and a colour are shown. Which word?
  shape    a word is shown. Which shape has its object?
  colour   a word is shown. Which colour?

All three are asked of each object. Training draws n from 1 to `pairs`; validation and test have
`test_pairs`, which may be more. Where n is less than the largest, the first steps are blank.

  input   [shape (shapes) | colour (colours) | word (words) | name, shape, colour? (3)]
  answer  one of shapes + colours + words

The headline metric is accuracy; name_accuracy, shape_accuracy and colour_accuracy are its parts.
Chance level: the mean of 1 / words, 1 / shapes and 1 / colours. A net that answers with any word,
shape or colour of the episode scores up to the mean of their 1 / n. Optimum: 1.

Source: Hill et al. 2021 (arXiv 2009.01719), whose agents see objects in three dimensions, and are
asked to fetch or to place what was named. Departures: symbols; no movement; questions for commands.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.factory import Factory
from plasticity.settings import Settings, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import accuracy, correct, cross_entropy
from plasticity.types import Array, Key

QUESTIONS = ("name", "shape", "colour")


@dataclasses.dataclass(frozen=True)
class FastMappingSettings(Settings):
    """Sizes of an episode."""

    section = "task"
    pairs: int = size(4, "most objects of a training episode")
    test_pairs: int = size(6, "objects of validation and test")
    shapes: int = size(8, "different shapes")
    colours: int = size(8, "different colours")
    words: int = size(8, "different words")

    def check(self) -> None:
        """Raises ValueError for more objects than there are words, or different objects."""
        most = max(self.pairs, self.test_pairs)
        if most > self.words:
            raise ValueError(
                f"task.words={self.words} must be at least {most}, the largest of task.pairs and "
                "task.test_pairs: each object has a word of its own"
            )
        if most > self.shapes * self.colours:
            raise ValueError(
                f"task.shapes={self.shapes} and task.colours={self.colours} make "
                f"{self.shapes * self.colours} different objects, and an episode has up to {most}"
            )


def _task(s: FastMappingSettings, fewest: int, most: int) -> Task:
    sizes = (s.shapes, s.colours, s.words)
    outputs = sum(sizes)

    def vectors(shape: Array, colour: Array, word: Array, question: Array) -> Array:
        """Inputs [K, I] of indices [K]; -1: not shown."""
        parts = zip((shape, colour, word, question), (*sizes, len(QUESTIONS)), strict=True)
        return jnp.concatenate([jax.nn.one_hot(index, n) for index, n in parts], -1)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        size_key, object_key, word_key = jax.random.split(key, 3)
        count = jax.random.randint(size_key, (), fewest, most + 1)
        shown = jnp.arange(most) >= most - count
        objects = jax.random.permutation(object_key, s.shapes * s.colours)[:most]
        shape, colour = objects // s.colours, objects % s.colours
        word = jax.random.permutation(word_key, s.words)[:most]
        hidden, ask = jnp.full(most, -1), lambda question: jnp.full(most, question)
        support = vectors(shape, colour, word, hidden) * shown[:, None]
        queries = [
            vectors(shape, colour, hidden, ask(0)),
            vectors(hidden, hidden, word, ask(1)),
            vectors(hidden, hidden, word, ask(2)),
        ]
        answers = [s.shapes + s.colours + word, shape, s.shapes + colour]
        targets = jnp.concatenate([jnp.zeros_like(word), *answers])
        weights = jnp.concatenate([jnp.zeros(most), jnp.tile(shown, len(QUESTIONS))])
        return Episode(support, targets, weights, jnp.concatenate(queries))

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        right = (correct(answers, episode.targets) * episode.weights)[most:].reshape(
            len(QUESTIONS), most
        )
        shares = right.sum(1) / episode.weights[most:].sum() * len(QUESTIONS)
        parts = {f"{name}_accuracy": shares[i] for i, name in enumerate(QUESTIONS)}
        return {"accuracy": accuracy(answers, episode)} | parts

    return Task(
        inputs=outputs + len(QUESTIONS),
        outputs=outputs,
        steps=most,
        main_metric="accuracy",
        chance=float(np.mean([1 / n for n in sizes])),
        sample=sample,
        loss=cross_entropy,
        metrics=metrics,
        phases=(("support", most),),
    )


def _in_training_and_test(s: FastMappingSettings) -> Task:
    return _task(s, s.test_pairs, s.test_pairs)._replace(training=_task(s, 1, s.pairs))


fast_mapping = Factory(FastMappingSettings, _in_training_and_test)
