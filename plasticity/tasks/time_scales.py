"""N-parity and N-delayed match: answer several questions about the last N bits, one for each N.

An episode is a stream of M bits, then padding, with M uniform on N + 2 .. 4N + 1 for the largest N.
At the last bit the net answers for each N of `horizons`, with an output for each:

  n_parity         is the sum of the last N bits odd?
  delayed_match    is the last bit equal to the one N - 1 steps before it?

N bits have to be held for the largest N, and the end of the stream is not announced. Inputs are
tokens: 0 for padding, 1 + bit. An output is positive for yes. Loss: mean binary cross-entropy.

Bits are fair. With `biased` each episode of n_parity first draws the probability of a 1, uniform on
(0, 1), as published: then the density of ones tells something about the parity of a few bits.

Metrics: accuracy, the mean over N, is the headline metric; largest_accuracy is that of the largest
N. Chance level: 1/2 for each N; with `biased` 1/2 + 1 / (2N + 2) for an even N, which is what
answering "even" scores. A net that sees biased bits scores more than that from their density alone.
Optimum: 1.

Source: Khajehabdollahi et al. 2023 (arXiv 2309.12927) and its code.
Departures: fair bits are the default of n_parity; there, a batch has one M and each N two outputs;
the largest N does not grow in training.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.factory import Factory
from plasticity.registry import shown
from plasticity.settings import Settings, setting
from plasticity.task import Task
from plasticity.tasks.sequences import YES_OR_NO, Language, task_of
from plasticity.types import Array, Key

BITS = 1  # the token of the bit 0
LARGEST = 10_000


@dataclasses.dataclass(frozen=True)
class StreamSettings(Settings):
    """Which questions are asked."""

    section = "task"
    horizons: str = setting("2,3,4", "values of N, joined by commas; one output for each")

    def check(self) -> None:
        """Raises ValueError unless `horizons` is a list of different integers from 2 on."""
        found = self.values
        if not found or min(found) < 2 or max(found) > LARGEST or len({*found}) < len(found):
            raise ValueError(
                f"task.horizons={shown(self.horizons)} must be different integers from 2 to "
                f"{LARGEST}, joined by commas, as in '2,3,4'"
            )

    @property
    def values(self) -> tuple[int, ...]:
        """The values of N, in the order of the outputs; empty if `horizons` is no such list."""
        parts = [part.strip() for part in self.horizons.split(",")]
        return tuple(int(part) for part in parts) if all(map(str.isdecimal, parts)) else ()


@dataclasses.dataclass(frozen=True)
class ParitySettings(StreamSettings):
    """Settings of N-parity."""

    biased: bool = setting(False, "each episode draws the probability of a 1, as published")


def earlier(values: Array, steps: int) -> Array:
    """The values [T] of so many steps before, 0 before the first one."""
    return jnp.concatenate([jnp.zeros(steps, values.dtype), values])[: len(values)]


def parities(bits: Array, horizons: Sequence[int]) -> Array:
    """Whether the sum of the last N bits is odd, at each step and for each N: [T, K]."""
    sums = jnp.cumsum(bits)
    return jnp.stack([(sums - earlier(sums, n)) % 2 for n in horizons], -1)


def matches(bits: Array, horizons: Sequence[int]) -> Array:
    """Whether a bit equals that of N - 1 steps before, for each N: [T, K], from step N - 1 on."""
    return jnp.stack([bits == earlier(bits, n - 1) for n in horizons], -1).astype(jnp.int32)


def _stream(
    horizons: Sequence[int],
    draw_bits: Callable[[Key, int], Array],
    label: Callable[[Array, Sequence[int]], Array],
    chances: Sequence[float],
) -> Task:
    """The task of a label for each N; chances: of each."""
    largest = max(horizons)

    def draw(key: Key, length: Array, steps: int) -> tuple[Array, Array]:
        del length
        bits = draw_bits(key, steps)
        return BITS + bits, label(bits, horizons).astype(jnp.float32)

    def metrics(right: Array, weights: Array, chance: float) -> dict[str, Array]:
        del chance
        accuracies = (right * weights[:, None]).sum(0)
        largest_accuracy = accuracies[horizons.index(largest)]
        return {"accuracy": accuracies.mean(), "largest_accuracy": largest_accuracy}

    language = Language(
        tokens=BITS + 2,
        outputs=len(horizons),
        draw=draw,
        chance=lambda fewest, most: float(np.mean(chances)),
        metrics=metrics,
        answers=YES_OR_NO,
    )
    return task_of(language, largest + 2, 4 * largest + 1)


def _fair(key: Key, steps: int) -> Array:
    return jax.random.randint(key, (steps,), 0, 2)


def _biased(key: Key, steps: int) -> Array:
    bias_key, key = jax.random.split(key)
    return jax.random.bernoulli(key, jax.random.uniform(bias_key), (steps,)).astype(jnp.int32)


def _n_parity(s: ParitySettings) -> Task:
    # P(even | p) = 1/2 + (1 - 2 p)^N / 2, and its mean over p is 1/2 for an odd N.
    gain = [(n + 1) % 2 / (2 * n + 2) if s.biased else 0.0 for n in s.values]
    draw_bits = _biased if s.biased else _fair
    return _stream(s.values, draw_bits, parities, [0.5 + g for g in gain])


def _delayed_match(s: StreamSettings) -> Task:
    return _stream(s.values, _fair, matches, [0.5] * len(s.values))


n_parity = Factory(ParitySettings, _n_parity)
delayed_match = Factory(StreamSettings, _delayed_match)
