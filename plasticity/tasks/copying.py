"""Copying: repeat a few symbols after a delay.

An episode of T = 2 * seq_length + delay + 1 steps, tokens one-hot:

  input   s_1 .. s_n   blank * delay   delimiter   blank * n
  target  blank * (n + delay + 1)                  s_1 .. s_n

Symbols are 1 .. vocabulary - 2, the blank is 0, the delimiter vocabulary - 1. Chance is
1 / (vocabulary - 2) on the symbols; the optimum is 1. With an attention window shorter than
delay + 1 + seq_length only a memory elsewhere can carry the symbols.

Source: Hochreiter & Schmidhuber 1997; Chaudhary 2025, where "recall accuracy" counts the whole
second half of the episode, blanks included: `paper_recall_accuracy` here.
"""

import jax
import jax.numpy as jnp
import optax

from plasticity.registry import check_choice
from plasticity.types import Array, Episode, Key, Task

BLANK = 0
LOSS_STEPS = ("all", "recall")


def copying(
    *, seq_length: int = 5, delay: int = 20, vocabulary: int = 10, loss_steps: str = "all"
) -> Task:
    """The task.

    Args:
      seq_length: symbols per episode, n.
      delay: blanks between the last symbol and the delimiter.
      vocabulary: tokens, blank and delimiter included.
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
    lead = seq_length + delay + 1  # steps before the recall
    steps = lead + seq_length
    recall = (jnp.arange(steps) >= lead).astype(jnp.float32)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        symbols = jax.random.randint(key, (seq_length,), 1, vocabulary - 1)
        blanks = jnp.full((steps,), BLANK, symbols.dtype)
        tokens = blanks.at[:seq_length].set(symbols).at[lead - 1].set(vocabulary - 1)
        targets = blanks.at[lead:].set(symbols)
        weights = recall if loss_steps == "recall" else jnp.ones_like(recall)
        return Episode(jax.nn.one_hot(tokens, vocabulary), targets, weights)

    def loss(outputs: Array, episode: Episode) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(outputs, episode.targets)

    def metrics(outputs: Array, episode: Episode) -> dict[str, Array]:
        correct = (outputs.argmax(-1) == episode.targets).astype(outputs.dtype)
        return {
            "recall_accuracy": correct[lead:].mean(),
            "paper_recall_accuracy": correct[steps // 2 :].mean(),
        }

    return Task(
        inputs=vocabulary,
        outputs=vocabulary,
        steps=steps,
        main_metric="recall_accuracy",
        chance=1 / (vocabulary - 2),
        sample=sample,
        loss=loss,
        metrics=metrics,
    )
