"""The three recall tasks of MAD: pairs of a key and a value, answered where a key returns.

A sequence of `length` tokens; its last one, a value, is an answer and no input: T = length - 1.
The target at each step is the next token. A step counts where the next token is of a value whose
key was shown before: the value of a key is the same throughout the sequence. V = `vocabulary`:

  mad_recall        keys are tokens below V // 2, values the others. Each key of the sequence is
                    uniform, each new key gets a uniform value; the key of the last pair is one of
                    those shown, all equally likely
  mad_noisy_recall  the last `noise_vocabulary` tokens are noise, the rest is as above. A pair is
                    replaced by two tokens of noise, with probability `noise`; at least one is not
  mad_fuzzy_recall  keys of 1 to `key_tokens`, values of 1 to `value_tokens` distinct tokens, all
                    lengths equally likely; in validation and test, all keys have `key_tokens`.
                    Token V - 1 is padding, (V - 1) // 2 tokens are of keys, the rest of values. As
                    many pairs as fit stand behind the padding; the last one repeats one of them.
                    Every token of a value is answered, each when those before it are known

The headline metric is accuracy, over the steps that count. Chance level: all tokens of values are
equally likely at each such step, so 1 / (number of tokens of values). Optimum: 1.

Source: Poli et al. 2024 (arXiv 2403.17844) and its code (athms/mad-lab), with many queries: V = 16,
V = 32 with noise; length = 128. Departures: episodes are drawn anew at every step, there training
has 12,800; only steps with an answer count in training, there every next token does; accuracy is
the mean over answers, there over classes. In mad_fuzzy_recall the last pair repeats any pair,
there one at a random position; sequences are one token shorter.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import token_task
from plasticity.tasks.mqar import drawn
from plasticity.types import Array, Key


@dataclasses.dataclass(frozen=True)
class RecallSettings(Settings):
    """Settings of recall."""

    section = "task"
    vocabulary: int = size(16, "tokens of keys and values, half each", low=4)
    length: int = size(128, "tokens of a sequence, its last value included", low=4)

    def check(self) -> None:
        """Raises ValueError for an odd length: a pair has two tokens."""
        if self.length % 2:
            raise ValueError(f"task.length={self.length} must be even: two tokens for each pair")


@dataclasses.dataclass(frozen=True)
class NoisySettings(RecallSettings):
    """Settings of recall with noise."""

    vocabulary: int = size(32, "tokens: keys and values, half each, and noise", low=5)
    noise_vocabulary: int = size(16, "tokens of noise")
    noise: float = setting(0.2, "share of the pairs that are noise", low=0, below=1)

    def check(self) -> None:
        """Raises ValueError for an odd length, or if noise leaves too few keys or values."""
        super().check()
        if self.vocabulary < self.noise_vocabulary + 4:
            raise ValueError(
                f"task.vocabulary={self.vocabulary} must be at least {self.noise_vocabulary + 4}, "
                f"task.noise_vocabulary + 4: two keys and two values"
            )


@dataclasses.dataclass(frozen=True)
class FuzzySettings(Settings):
    """Settings of recall whose keys and values have several tokens."""

    section = "task"
    vocabulary: int = size(16, "tokens: keys and values, half each, and padding", low=5)
    length: int = size(128, "tokens of a sequence, its last value included", low=4)
    key_tokens: int = size(3, "tokens of a key, at most; exactly, in validation and test")
    value_tokens: int = size(3, "tokens of a value, at most")

    def check(self) -> None:
        """Raises ValueError for too few tokens, or less room than two pairs need."""
        longest = max(self.key_tokens, self.value_tokens)
        if longest > (self.vocabulary - 1) // 2:
            raise ValueError(
                f"task.vocabulary={self.vocabulary} must be at least {2 * longest + 1}: the tokens "
                f"of a key (task.key_tokens={self.key_tokens}) and of a value "
                f"(task.value_tokens={self.value_tokens}) are distinct"
            )
        least = 2 * (self.key_tokens + self.value_tokens)
        if self.length < least:
            raise ValueError(
                f"task.length={self.length} must be at least {least}, "
                f"2 * (task.key_tokens + task.value_tokens): two pairs"
            )


def _next_token(sequence: Array, asked: Array) -> Episode:
    """The episode of a sequence [T + 1] whose tokens count where they are `asked` [T + 1]."""
    return Episode(sequence[:-1], sequence[1:], asked[1:].astype(jnp.float32))


def _recall(s: RecallSettings, noise: float = 0.0, noise_vocabulary: int = 0) -> Task:
    tokens = s.vocabulary - noise_vocabulary
    keys, pairs = tokens // 2, s.length // 2 - 1  # but for the last pair

    def sample(key: Key, data: None = None) -> Episode:
        del data
        key_key, value_key, last_key, noise_key, kept_key, token_key = jax.random.split(key, 6)
        values = jax.random.randint(value_key, (keys,), keys, tokens)
        chosen = jax.random.randint(key_key, (pairs,), 0, keys)
        is_noise = jax.random.bernoulli(noise_key, noise, (pairs,))
        is_noise = is_noise.at[jax.random.randint(kept_key, (), 0, pairs)].set(False)
        shown = jnp.where(is_noise, keys, chosen)  # noise shows no key: its index is dropped
        first = jnp.full(keys, pairs).at[shown].min(jnp.arange(pairs), mode="drop")
        last = jax.random.categorical(last_key, jnp.where(first < pairs, 0.0, -jnp.inf))
        chosen, is_noise = jnp.append(chosen, last), jnp.append(is_noise, False)
        asked = (jnp.arange(pairs + 1) > first[chosen]) & ~is_noise
        sequence = jnp.stack([chosen, values[chosen]], -1)
        if noise_vocabulary:
            other = jax.random.randint(token_key, sequence.shape, tokens, s.vocabulary)
            sequence = jnp.where(is_noise[:, None], other, sequence)
        asked = jnp.stack([jnp.zeros_like(asked), asked], -1)
        return _next_token(sequence.ravel(), asked.ravel())

    return token_task(s.vocabulary, 1 / (tokens - keys), sample, (("pairs", s.length - 1),))


def _noisy_recall(s: NoisySettings) -> Task:
    return _recall(s, s.noise, s.noise_vocabulary)


class Motifs(NamedTuple):
    """Keys or values of several tokens."""

    tokens: Array  # [n, most tokens of a motif]
    size: Array  # [n], how many of them count

    @property
    def counts(self) -> Array:
        """Which of the tokens count."""
        return jnp.arange(self.tokens.shape[1]) < self.size[:, None]

    def at(self, rows: Array) -> "Motifs":
        """The motifs in the given rows."""
        return Motifs(self.tokens[rows], self.size[rows])


def _motifs(key: Key, count: int, tokens: tuple[int, int], sizes: tuple[int, int]) -> Motifs:
    """Draws motifs of distinct tokens, from `tokens[0]` up to `tokens[1]`, and of `sizes`."""
    token_key, size_key = jax.random.split(key)
    (start, stop), (shortest, longest) = tokens, sizes
    keys = jax.random.split(token_key, count)
    found = jax.vmap(lambda k: drawn(k, jnp.zeros(stop - start), longest))(keys)
    size = jax.random.randint(size_key, (count,), shortest, longest + 1)
    return Motifs(start + found, size)


def _sequence(keys: Motifs, values: Motifs, marks: Array, length: int, pad: int) -> Array:
    """Writes pairs one after the other, up to the end of a sequence.

    Args:
      keys, values: of the pairs; those of size 0 are left out.
      marks: [pairs], written at the tokens of each value.
      length, pad: of the sequence; padding stands before the first pair.

    Returns:
      [2, length]: the tokens; the marks, 0 elsewhere.
    """
    ends = length - jnp.cumsum((keys.size + values.size)[::-1])[::-1]  # of the pair before
    tokens, marked = jnp.full(length, pad), jnp.zeros(length, jnp.int32)
    for motifs, begin in ((keys, ends), (values, ends + keys.size)):
        at = begin[:, None] + jnp.arange(motifs.tokens.shape[1])
        at = jnp.where(motifs.counts, at, length)  # beyond the sequence: dropped
        tokens = tokens.at[at].set(motifs.tokens, mode="drop")
    return jnp.stack([tokens, marked.at[at].set(marks[:, None], mode="drop")])


def _fuzzy(s: FuzzySettings, shortest: int) -> Task:
    pad = s.vocabulary - 1
    first_value = pad // 2
    room = s.length - s.key_tokens - s.value_tokens  # the last pair needs the rest at most
    pairs = room // (shortest + 1)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        key_key, value_key, last_key = jax.random.split(key, 3)
        keys = _motifs(key_key, pairs, (0, first_value), (shortest, s.key_tokens))
        values = _motifs(value_key, pairs, (first_value, pad), (1, s.value_tokens))
        written = jnp.where(keys.counts, keys.tokens, -1)
        first = (written[:, None] == written).all(-1).argmax(1)  # the first pair of the same key
        values = values.at(first)
        fits = jnp.cumsum(keys.size + values.size) <= room
        keys, values = (m._replace(size=m.size * fits) for m in (keys, values))
        last = jax.random.randint(last_key, (), 0, fits.sum())
        rows = jnp.append(jnp.arange(pairs), last)
        repeated = jnp.append(first < jnp.arange(pairs), True).astype(jnp.int32)
        found = _sequence(keys.at(rows), values.at(rows), repeated, s.length, pad)
        return _next_token(*found)

    phases = (("pairs", s.length - 1),)
    return token_task(s.vocabulary, 1 / (pad - first_value), sample, phases)


def _fuzzy_recall(s: FuzzySettings) -> Task:
    return _fuzzy(s, s.key_tokens)._replace(training=_fuzzy(s, 1))


mad_recall = Factory(RecallSettings, _recall)
mad_noisy_recall = Factory(NoisySettings, _noisy_recall)
mad_fuzzy_recall = Factory(FuzzySettings, _fuzzy_recall)
