"""Copying: repeat a few symbols, or numbers, after a delay.

An episode of T = 2 * seq_length + delay + 1 steps:

  input   s_1 .. s_n   blank * delay   delimiter   blank * n
  target  blank * (n + delay + 1)                  s_1 .. s_n

  content "symbols"  one-hot tokens: symbols 1 .. vocabulary - 2, the blank 0, the delimiter
                     vocabulary - 1. Chance is 1 / (vocabulary - 2); the optimum is 1
          "reals"    [s, U(-1, 1) | 1 at the delimiter], blanks 0. Who knows nothing has a recall
                     MSE of 1/3; the optimum is 0

Where attention does not reach back delay + 1 + seq_length steps (windows add up over blocks: it
reaches layers * attention_window) only a memory elsewhere can carry them.

Source: Hochreiter & Schmidhuber 1997; Duan et al. 2023 (reals); Chaudhary 2025, where "recall
accuracy" counts the whole second half of the episode, blanks included: here
`paper_recall_accuracy`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.registry import check_choice, lookup
from plasticity.tasks.squares import squares
from plasticity.types import Array, Episode, Key, Task

BLANK = 0
LOSS_STEPS = ("all", "recall")


class Timeline(NamedTuple):
    """Where things are in an episode."""

    length: int  # n
    lead: int  # steps before the recall
    vocabulary: int

    @property
    def steps(self) -> int:
        """T."""
        return self.lead + self.length

    @property
    def phases(self) -> tuple[tuple[str, int], ...]:
        """What happens, and for how many steps."""
        delay = self.lead - self.length - 1
        shown, recalled = ("presentation", self.length), ("recall", self.length)
        return shown, ("delay", delay), ("delimiter", 1), recalled


def _symbols(timeline: Timeline, weights: Array) -> Task:
    length, lead, vocabulary = timeline

    def sample(key: Key, data: None = None) -> Episode:
        del data
        symbols = jax.random.randint(key, (length,), 1, vocabulary - 1)
        blanks = jnp.full((timeline.steps,), BLANK, symbols.dtype)
        tokens = blanks.at[:length].set(symbols).at[lead - 1].set(vocabulary - 1)
        targets = blanks.at[lead:].set(symbols)
        return Episode(jax.nn.one_hot(tokens, vocabulary), targets, weights)

    def loss(answers: Array, episode: Episode) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(answers, episode.targets)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        correct = (answers.argmax(-1) == episode.targets).astype(answers.dtype)
        return {
            "recall_accuracy": correct[lead:].mean(),
            "paper_recall_accuracy": correct[timeline.steps // 2 :].mean(),
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
    )


def _reals(timeline: Timeline, weights: Array) -> Task:
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


def copying(
    *,
    seq_length: int = 5,
    delay: int = 20,
    vocabulary: int = 10,
    content: str = "symbols",
    loss_steps: str = "all",
) -> Task:
    """The task.

    Args:
      seq_length: symbols or numbers per episode, n.
      delay: blanks between the last symbol and the delimiter.
      vocabulary: tokens, blank and delimiter included; of no meaning for "reals".
      content: see above.
      loss_steps: the outer loss counts "all" steps (the paper) or those of the "recall" only.
    """
    if seq_length < 1:
        raise ValueError(f"task.seq_length={seq_length} must be at least 1")
    if delay < 0:
        raise ValueError(f"task.delay={delay} must not be negative")
    if vocabulary < 4:
        raise ValueError(
            f"task.vocabulary={vocabulary} must be at least 4: blank, delimiter and two symbols"
        )
    check_choice(loss_steps, LOSS_STEPS, "task.loss_steps")
    make = lookup(CONTENTS, content, "task.content")
    timeline = Timeline(seq_length, seq_length + delay + 1, vocabulary)
    counts = jnp.arange(timeline.steps) >= (timeline.lead if loss_steps == "recall" else 0)
    return make(timeline, counts.astype(jnp.float32))
