"""The tasks of MAD without recall: selective copying, compression, memorisation.

Episodes of T = `length` tokens, with V = `vocabulary`:

  mad_copying       n = `symbols` below V - 2 among blanks (V - 2), then the copy token (V - 1) and
                    n blanks, at which the symbols are answered in their order. Each of the
                    T - 2 n - 1 blanks stands before one of the symbols, all equally likely: the
                    last symbol is just before the copy token
  mad_compression   T - 1 symbols below V - 1, then the token V - 1. All symbols are answered there
                    at once, from one vector: an answer has (T - 1) (V - 1) scores
  mad_memorisation  T / 2 keys, each followed by the token V - 1, at which the value of the key is
                    answered. The values are those of one fixed mapping, number `mapping`, in all
                    episodes of training and test: slow weights must learn it. The (V - 1) // 2
                    keys are the first tokens, each key has a value of its own among the next ones

The headline metric is accuracy, over all answers. Chance level: all symbols are equally likely, so
1 / (V - 2) for copying and 1 / (V - 1) for compression; the values of all keys are equally likely,
so 1 / ((V - 1) // 2) for memorisation. Optimum: 1.

Source: Poli et al. 2024 (arXiv 2403.17844) and its code (athms/mad-lab): T = 256, V = 16 and
n = 16 for copying; T = 32, V = 16 for compression; T = 32, V = 256 for memorisation. Departures:
episodes are drawn anew at every step, there training has 12,800 (memorisation: 256); accuracy is
the mean over answers, there over classes. In compression, the head reads the vector; there, an MLP
reads the sum of it and of the encoding of a position, and the last token is answered too.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import correct, cross_entropy, token_task
from plasticity.types import Array, Key


@dataclasses.dataclass(frozen=True)
class MadCopyingSettings(Settings):
    """Settings of selective copying."""

    section = "task"
    vocabulary: int = size(16, "tokens: symbols, the blank and the copy token", low=3)
    length: int = size(256, "tokens of an episode", low=3)
    symbols: int = size(16, "symbols to copy")

    def check(self) -> None:
        """Raises ValueError for an episode without room for the symbols and their copies."""
        least = 2 * self.symbols + 1
        if self.length < least:
            raise ValueError(
                f"task.length={self.length} must be at least {least}, 2 * task.symbols + 1: the "
                f"symbols, the copy token and the copies"
            )


@dataclasses.dataclass(frozen=True)
class CompressionSettings(Settings):
    """Settings of compression."""

    section = "task"
    vocabulary: int = size(16, "tokens: symbols, and the one at which they are answered", low=3)
    length: int = size(32, "tokens of an episode", low=2)


@dataclasses.dataclass(frozen=True)
class MemorisationSettings(Settings):
    """Settings of memorisation."""

    section = "task"
    vocabulary: int = size(256, "tokens: keys and values, half each, and one for questions", low=5)
    length: int = size(32, "tokens of an episode, two for each key", low=2)
    mapping: int = setting(0, "which mapping is to be learned", low=0)

    def check(self) -> None:
        """Raises ValueError for an odd length: a key and a question are two tokens."""
        if self.length % 2:
            raise ValueError(
                f"task.length={self.length} must be even: a key and a question, in turn"
            )


def _copying(s: MadCopyingSettings) -> Task:
    copy_token, blank = s.vocabulary - 1, s.vocabulary - 2
    start = s.length - s.symbols  # of the copies
    index = jnp.arange(s.symbols)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        symbol_key, blank_key = jax.random.split(key)
        symbols = jax.random.randint(symbol_key, (s.symbols,), 0, blank)
        before = jax.random.randint(blank_key, (start - s.symbols - 1,), 0, s.symbols)
        at = index + (before[:, None] <= index).sum(0)
        inputs = jnp.full(s.length, blank).at[at].set(symbols).at[start - 1].set(copy_token)
        targets = jnp.zeros(s.length, jnp.int32).at[start:].set(symbols)
        return Episode(inputs, targets, jnp.zeros(s.length).at[start:].set(1.0))

    phases = (("symbols", start - 1), ("delimiter", 1), ("recall", s.symbols))
    return token_task(s.vocabulary, 1 / blank, sample, phases)


def _compression(s: CompressionSettings) -> Task:
    shown, symbols = s.length - 1, s.vocabulary - 1

    def sample(key: Key, data: None = None) -> Episode:
        del data
        found = jax.random.randint(key, (shown,), 0, symbols)
        targets = jnp.zeros((s.length, shown), jnp.int32).at[-1].set(found)
        return Episode(jnp.append(found, symbols), targets, jnp.zeros(s.length).at[-1].set(1.0))

    def scores(answers: Array) -> Array:
        return answers.reshape(s.length, shown, symbols)

    def loss(answers: Array, episode: Episode) -> Array:
        return cross_entropy(scores(answers), episode).mean(-1)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        return {"accuracy": correct(scores(answers)[-1], episode.targets[-1]).mean()}

    task = token_task(s.vocabulary, 1 / symbols, sample, (("symbols", shown), ("answer", 1)))
    return task._replace(outputs=shown * symbols, loss=loss, metrics=metrics)


def mapped(keys: int, values: int, mapping: int) -> np.ndarray:
    """The value [keys], an index below `values`, of each key: distinct, by the mapping's number."""
    return np.random.default_rng(mapping).permutation(values)[:keys]


def _memorisation(s: MemorisationSettings) -> Task:
    question = s.vocabulary - 1
    keys = question // 2
    values = jnp.asarray(keys + mapped(keys, question - keys, s.mapping), jnp.int32)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        asked = jax.random.randint(key, (s.length // 2,), 0, keys)
        inputs = jnp.stack([asked, jnp.full_like(asked, question)], -1).ravel()
        targets = jnp.stack([jnp.zeros_like(asked), values[asked]], -1).ravel()
        return Episode(inputs, targets, (inputs == question).astype(jnp.float32))

    return token_task(s.vocabulary, 1 / keys, sample, (("questions", s.length),))


mad_copying = Factory(MadCopyingSettings, _copying)
mad_compression = Factory(CompressionSettings, _compression)
mad_memorisation = Factory(MemorisationSettings, _memorisation)
