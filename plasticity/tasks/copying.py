"""Copying: repeat a few symbols, or numbers, after a delay.

An episode of T = 2 * seq_length + delay + 1 steps, with n = seq_length:

  input   s_1 .. s_n   blank * delay   delimiter   blank * n
  target  blank * (n + delay + 1)                  s_1 .. s_n

  content "symbols"  inputs [T, vocabulary], one-hot: symbols 1 .. vocabulary - 2, the blank 0, the
                     delimiter vocabulary - 1; targets [T] int32. The headline metric is
                     recall_accuracy: chance level 1 / (vocabulary - 2), optimum 1
          "reals"    inputs [T, 2]: a number from U(-1, 1), or 0 | 1 at the delimiter; targets
                     [T, 1]. The headline metric is recall_mse: predicting the mean, 0, scores 1/3;
                     optimum 0

A stream of `tasks` tasks enters the vocabulary in another order in each: symbol v of task k is the
one-hot vector of permutation_k(v). The first is the identity; the blank of task k enters as k, so
that blanks tell tasks apart, as the background of permuted images does. Targets do not change.

Attention that reaches fewer than delay + 1 + seq_length steps back cannot copy (windows add up over
blocks, to layers * attention_window): only another memory carries the symbols.

Source: Hochreiter & Schmidhuber 1997; Duan et al. 2023 (reals); Chaudhary 2025, whose "recall
accuracy" is the accuracy over the second half of the episode, blanks included: here
`paper_recall_accuracy`.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import correct
from plasticity.tasks.squares import squares
from plasticity.types import Array, Key

BLANK = 0


def permutations(tasks: int, vocabulary: int) -> np.ndarray:
    """The order [tasks, vocabulary] in which the symbols of each task of a stream enter."""
    rng, rows = np.random.default_rng(0), [np.arange(vocabulary)]
    for task in range(1, tasks):
        rest = np.delete(np.arange(vocabulary), task)
        rows.append(np.concatenate([[task], rng.permutation(rest)]))
    return np.stack(rows)


class Timeline(NamedTuple):
    """The steps of an episode."""

    length: int  # n
    lead: int  # steps before the recall
    vocabulary: int

    @property
    def steps(self) -> int:
        """T."""
        return self.lead + self.length

    @property
    def phases(self) -> tuple[tuple[str, int], ...]:
        """Names and lengths of the phases."""
        delay = self.lead - self.length - 1
        shown, recalled = ("presentation", self.length), ("recall", self.length)
        return shown, ("delay", delay), ("delimiter", 1), recalled


def _symbols(timeline: Timeline, weights: Array, tasks: int) -> Task:
    length, lead, vocabulary = timeline
    orders = jnp.asarray(permutations(tasks, vocabulary))

    def sample(key: Key, data: None = None, which: Array | int = 0) -> Episode:
        del data
        symbols = jax.random.randint(key, (length,), 1, vocabulary - 1)
        blanks = jnp.full((timeline.steps,), BLANK, symbols.dtype)
        tokens = blanks.at[:length].set(symbols).at[lead - 1].set(vocabulary - 1)
        targets = blanks.at[lead:].set(symbols)
        entered = tokens if tasks == 1 else orders[which, tokens]
        return Episode(jax.nn.one_hot(entered, vocabulary), targets, weights)

    def loss(answers: Array, episode: Episode) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(answers, episode.targets)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        right = correct(answers, episode.targets).astype(answers.dtype)
        return {
            "recall_accuracy": right[lead:].mean(),
            "paper_recall_accuracy": right[timeline.steps // 2 :].mean(),
        }

    return Task(
        inputs=vocabulary,
        outputs=vocabulary,
        steps=timeline.steps,
        main_metric="recall_accuracy",
        chance=1 / (vocabulary - 2),
        sample=sample,
        loss=loss,
        metrics=metrics,
        phases=timeline.phases,
        tasks=tasks,
    )


def _reals(timeline: Timeline, weights: Array, tasks: int) -> Task:
    del tasks  # one, see `CopyingSettings.check`
    length, lead, _ = timeline

    def sample(key: Key, data: None = None) -> Episode:
        del data
        numbers = jax.random.uniform(key, (length,), minval=-1.0, maxval=1.0)
        nothing = jnp.zeros(timeline.steps)
        shown, delimiter = nothing.at[:length].set(numbers), nothing.at[lead - 1].set(1.0)
        targets = nothing.at[lead:].set(numbers)[:, None]
        return Episode(jnp.stack([shown, delimiter], -1), targets, weights)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        return {"recall_mse": squares(answers, episode)[lead:].mean()}

    return Task(
        inputs=2,
        outputs=1,
        steps=timeline.steps,
        main_metric="recall_mse",
        chance=1 / 3,
        sample=sample,
        loss=squares,
        metrics=metrics,
        phases=timeline.phases,
    )


CONTENTS = {"symbols": _symbols, "reals": _reals}


@dataclasses.dataclass(frozen=True)
class CopyingSettings(Settings):
    """Settings of the task."""

    section = "task"
    seq_length: int = size(5, "symbols or numbers to remember")
    delay: int = size(20, "blanks between the last symbol and the delimiter", low=0)
    vocabulary: int = size(10, "symbols: tokens, blank and delimiter included", low=4)
    content: str = setting("symbols", "what is copied; reals: numbers", choices=CONTENTS)
    loss_steps: str = setting(
        "all", "steps that the outer loss counts; all: as published", choices=("all", "recall")
    )
    tasks: int = size(1, "tasks of a stream, each with the vocabulary in an order of its own")

    def check(self) -> None:
        """Raises ValueError for more tasks than there are blanks to tell them apart."""
        most = self.vocabulary if self.content == "symbols" else 1
        if self.tasks > most:
            raise ValueError(
                f"task.tasks={self.tasks} must be at most {most} for task.content="
                f"{self.content!r} and task.vocabulary={self.vocabulary}"
            )


def _copying(s: CopyingSettings) -> Task:
    timeline = Timeline(s.seq_length, s.seq_length + s.delay + 1, s.vocabulary)
    first = timeline.lead if s.loss_steps == "recall" else 0
    counts = (jnp.arange(timeline.steps) >= first).astype(jnp.float32)
    return CONTENTS[s.content](timeline, counts, s.tasks)


copying = Factory(CopyingSettings, _copying)
