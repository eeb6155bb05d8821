"""Rewriting: keys are written again with new values, and the last value counts.

An episode with k = `keys`, w = `writes`, V = `vocabulary`, and n = k w writes:

  input   pairs of a key and a value, 2 n tokens: each key w times, in random order   q_1 .. q_k
  target                                                       the last value of each key asked

T = 2 n + k. Each key is asked once, in random order. Keys are distinct tokens of the lower half of
the vocabulary, values are tokens of the upper half. The values of a key are distinct; those of two
keys may be equal. A query is a step, as in MQAR.

The headline metric is query_accuracy, over the k queries. Others:

  stale            how often the answer is an older value of the same key
  accuracy_recent  of the k // 2 keys with the fewest other writes since their last write
  accuracy_old     of the other keys

Chance level: each of the V - V // 2 values is equally likely, so 1 / (V - V // 2). A net that
answers with any value of the key scores 1 / w, and 1 - 1 / w is stale. Optimum: 1, of which nothing
is stale. A memory that adds up what it is told cannot tell the last value of a key from the others;
one that corrects an error or forgets can.

Source: keys with replacement in Schlag et al. 2021 (arXiv 2102.11174), section 6.1. Departures:
tokens, not vectors; every key is written equally often, and asked.
"""

import dataclasses

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.settings import Settings, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import accuracy, correct, token_task, tokens
from plasticity.tasks.mqar import drawn
from plasticity.types import Array, Key


@dataclasses.dataclass(frozen=True)
class RewritingSettings(Settings):
    """Settings of the task."""

    section = "task"
    vocabulary: int = size(64, "tokens; keys are of the lower half, values of the upper", low=4)
    keys: int = size(8, "keys of an episode", low=2)
    writes: int = size(4, "values that each key is written with; 1: nothing is rewritten")

    def check(self) -> None:
        """Raises ValueError for more keys, or values of a key, than there are tokens."""
        most = max(self.keys, self.writes)
        if most > self.vocabulary // 2:
            raise ValueError(
                f"task.vocabulary={self.vocabulary} must be at least {2 * most}: "
                f"task.keys={self.keys} distinct keys are of one half of it, and "
                f"task.writes={self.writes} distinct values of a key of the other"
            )


def last_writes(written: Array, asked: Array) -> Array:
    """The index [k] of the last entry of `written` [n] that equals each entry of `asked` [k]."""
    index = jnp.arange(len(written))
    return jnp.where(asked[:, None] == written, index, -1).max(1)


def _rewriting(s: RewritingSettings) -> Task:
    half, writes = s.vocabulary // 2, s.keys * s.writes
    shown = 2 * writes

    def sample(key: Key, data: None = None) -> Episode:
        del data
        key_key, value_key, write_key, query_key = jax.random.split(key, 4)
        keys = drawn(key_key, jnp.zeros(half), s.keys)
        each = jax.random.split(value_key, s.keys)
        values = jax.vmap(lambda k: drawn(k, jnp.zeros(s.vocabulary - half), s.writes))(each)
        pairs = jnp.stack([jnp.repeat(keys, s.writes), half + values.ravel()], -1)
        pairs = jax.random.permutation(write_key, pairs)
        asked = jax.random.permutation(query_key, keys)
        answers = pairs[last_writes(pairs[:, 0], asked), 1]
        nothing = jnp.zeros(shown, jnp.int32)
        return Episode(
            jnp.concatenate([pairs.ravel(), asked]),
            jnp.concatenate([nothing, answers]),
            jnp.concatenate([nothing, jnp.ones_like(answers)]).astype(jnp.float32),
        )

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        inputs = tokens(episode)
        pairs, asked = inputs[:shown].reshape(writes, 2), inputs[shown:]
        is_right, said = correct(answers, episode.targets)[shown:], answers[shown:].argmax(-1)
        of_key = asked[:, None] == pairs[:, 0]
        any_value = (of_key & (pairs[:, 1] == said[:, None])).any(1)
        last = last_writes(pairs[:, 0], asked)
        recent = (last > last[:, None]).sum(1) < s.keys // 2  # how many keys were written later
        return {
            "query_accuracy": accuracy(answers, episode),
            "stale": (any_value & ~is_right).mean(),
            "accuracy_recent": (is_right & recent).sum() / recent.sum(),
            "accuracy_old": (is_right & ~recent).sum() / (~recent).sum(),
        }

    phases = (("writes", shown), ("queries", s.keys))
    task = token_task(s.vocabulary, 1 / (s.vocabulary - half), sample, phases)
    return task._replace(main_metric="query_accuracy", metrics=metrics)


rewriting = Factory(RewritingSettings, _rewriting)
