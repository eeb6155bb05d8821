"""N-parity and N-delayed match: answer several questions about the last N bits, one for each N.

An episode is a stream of M bits, then padding, with M uniform on N + 2 .. 4N + 1 for the largest N.
At the last bit the net answers for each N that is asked, with an output for each:

  n_parity         is the sum of the last N bits odd?
  delayed_match    is the last bit equal to the one N - 1 steps before it?

Asked are the last `heads` values up to `largest`; with 0, all from 2 on. N bits have to be held for
the largest N, and the end of the stream is not announced. Inputs are tokens: 0 for padding,
1 + bit. An output is positive for yes. Loss: mean binary cross-entropy.

A curriculum lets `largest` grow, over a net that has an output for each N from 2 to `outputs_to`.
For example, with outputs_to = largest = 9 and

  curriculum.field=largest  curriculum.stages=2..8  curriculum.until=.98
      curriculum.metrics=accuracy,largest_accuracy

N grows once it is answered well: with heads = 1 a single N at a time (single-head), with heads = 0
all up to the present one (multi-head), and with heads = 3 the last three (sliding).

Bits are fair. With `biased` each episode of n_parity first draws the probability of a 1, uniform on
(0, 1), as published: then the density of ones tells something about the parity of a few bits.

Metrics: accuracy, the mean over N, is the headline metric; largest_accuracy is that of the largest
N, horizon_N that of each. Chance level: 1/2 for each N; with `biased` 1/2 + 1 / (2N + 2) for an
even N, which is what answering "even" scores. A net that sees biased bits scores more than that
from their density alone. Optimum: 1.

Source: Khajehabdollahi et al. 2023 (arXiv 2309.12927) and its code.
Departures: fair bits are the default of n_parity; there, a batch has one M and each N two outputs,
and losses are summed over N.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Task
from plasticity.tasks.sequences import YES_OR_NO, Answers, Language, task_of
from plasticity.types import Array, Key

BITS = 1  # the token of the bit 0
LARGEST = 10_000


@dataclasses.dataclass(frozen=True)
class StreamSettings(Settings):
    """Which questions are asked."""

    section = "task"
    largest: int = size(4, "largest N that is asked", low=2, high=LARGEST)
    heads: int = size(
        0, "most values of N that are asked, up to `largest`; 0: all from 2 on", low=0
    )
    outputs_to: int = size(
        0, "largest N that the net has an output for; 0: `largest`", low=0, high=LARGEST
    )

    def check(self) -> None:
        """Raises ValueError for an N without an output."""
        if self.outputs_to and self.outputs_to < self.largest:
            raise ValueError(
                f"task.outputs_to={self.outputs_to} must be at least task.largest={self.largest}"
            )

    @property
    def asked(self) -> range:
        """The values of N, in the order of the answers."""
        first = self.largest + 1 - (self.heads or self.largest)
        return range(max(first, 2), self.largest + 1)


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
    s: StreamSettings,
    draw_bits: Callable[[Key, int], Array],
    label: Callable[[Array, Sequence[int]], Array],
    chances: Sequence[float],
) -> Task:
    """The task of a label for each N that is asked; chances: of each."""
    asked = slice(s.asked.start - 2, s.asked.stop - 2)  # among the outputs

    def draw(key: Key, length: Array, steps: int) -> tuple[Array, Array]:
        del length
        bits = draw_bits(key, steps)
        return BITS + bits, label(bits, s.asked).astype(jnp.float32)

    def metrics(right: Array, weights: Array, chance: float) -> dict[str, Array]:
        del chance
        accuracies = (right * weights[:, None]).sum(0)
        found = {"accuracy": accuracies.mean(), "largest_accuracy": accuracies[-1]}
        return found | {f"horizon_{n}": accuracies[i] for i, n in enumerate(s.asked)}

    language = Language(
        tokens=BITS + 2,
        outputs=(s.outputs_to or s.largest) - 1,
        draw=draw,
        chance=lambda fewest, most: float(np.mean(chances)),
        metrics=metrics,
        answers=Answers(
            lambda answers, targets: YES_OR_NO.loss(answers[:, asked], targets),
            lambda answers, targets: YES_OR_NO.right(answers[:, asked], targets),
        ),
    )
    return task_of(language, s.largest + 2, 4 * s.largest + 1)


def _fair(key: Key, steps: int) -> Array:
    return jax.random.randint(key, (steps,), 0, 2)


def _biased(key: Key, steps: int) -> Array:
    bias_key, key = jax.random.split(key)
    return jax.random.bernoulli(key, jax.random.uniform(bias_key), (steps,)).astype(jnp.int32)


def _n_parity(s: ParitySettings) -> Task:
    # P(even | p) = 1/2 + (1 - 2 p)^N / 2, and its mean over p is 1/2 for an odd N.
    gain = [(n + 1) % 2 / (2 * n + 2) if s.biased else 0.0 for n in s.asked]
    draw_bits = _biased if s.biased else _fair
    return _stream(s, draw_bits, parities, [0.5 + g for g in gain])


def _delayed_match(s: StreamSettings) -> Task:
    return _stream(s, _fair, matches, [0.5] * len(s.asked))


n_parity = Factory(ParitySettings, _n_parity)
delayed_match = Factory(StreamSettings, _delayed_match)
