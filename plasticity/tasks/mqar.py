"""Multi-query associative recall (MQAR): after n pairs, each key is shown again, among filler.

An episode of T = `steps` tokens, with n = `pairs` and V = `vocabulary`:

  input   k_1 v_1 .. k_n v_n   T - 2n positions: a key at n of the even ones, filler elsewhere
  target                       the key's value, at the position of the key

Keys are distinct, of 1 .. V/2 - 1; values are distinct, of V/2 .. V - 1. The second part has
(T - 2n) / 2 slots of two positions. Slots for k_1, k_2, .. are drawn in turn without replacement,
slot i = 0, 1, .. with a probability proportional to (i + 1)^(power - 1): most keys return early.
Filler is 0, or uniform over all V tokens: then it may equal a key or a value, and has no target.

The headline metric is query_accuracy, over the n queries. Chance level: each of the V - V/2 values
is equally likely, so 1 / (V - V/2). A net that answers with any value of the episode scores 1 / n.
Optimum: 1.

Source: Arora et al. 2023 (arXiv 2312.04927) and its code: V = 8192, power = .01, and (T, n) =
(64, 4), (128, 8), (256, 16), (512, 64). Departure: episodes are drawn anew at every step; there,
training has 100,000.
"""

import dataclasses

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Task
from plasticity.tasks.answers import accuracy, token_task
from plasticity.types import Array, Key

FILLERS = ("zero", "random")


@dataclasses.dataclass(frozen=True)
class MqarSettings(Settings):
    """Settings of the task."""

    section = "task"
    vocabulary: int = size(8192, "tokens; keys are of the lower half, values of the upper", low=4)
    steps: int = size(64, "tokens of an episode", low=4)
    pairs: int = size(4, "keys and values")
    power: float = setting(0.01, "1: queries at any distance; 0: most of them early", low=0, high=1)
    filler: str = setting("zero", "tokens between the queries", choices=FILLERS)

    def check(self) -> None:
        """Raises ValueError for more pairs than slots or keys, or an odd number of steps."""
        if self.steps % 2 or self.steps < 4 * self.pairs:
            raise ValueError(
                f"task.steps={self.steps} must be even and at least {4 * self.pairs}, "
                f"4 * task.pairs: two tokens for a pair, two for the slot of its query"
            )
        if self.pairs >= self.vocabulary // 2:
            raise ValueError(
                f"task.vocabulary={self.vocabulary} must be at least {2 * self.pairs + 2}, "
                f"2 * task.pairs + 2: keys differ from each other and from 0"
            )


def drawn(key: Key, log_weights: Array, count: int) -> Array:
    """Returns `count` distinct indices, each drawn with weights exp(log_weights) of what is left.

    The largest entries after Gumbel noise have this distribution (Vieira 2014), and `top_k` is 30
    times as fast as the sort in `jax.random.choice`.
    """
    noise = jax.random.gumbel(key, log_weights.shape)
    return jax.lax.top_k(log_weights + noise, count)[1]


def _mqar(s: MqarSettings) -> Task:
    half, shown = s.vocabulary // 2, 2 * s.pairs
    slots = jnp.arange((s.steps - shown) // 2)

    def sample(key: Key, data: None = None) -> Episode:
        del data
        key_key, value_key, slot_key, filler_key = jax.random.split(key, 4)
        keys = 1 + drawn(key_key, jnp.zeros(half - 1), s.pairs)
        values = half + drawn(value_key, jnp.zeros(s.vocabulary - half), s.pairs)
        log_weights = (s.power - 1) * jnp.log1p(slots.astype(jnp.float32))
        at = shown + 2 * drawn(slot_key, log_weights, s.pairs)
        inputs = jnp.zeros(s.steps, jnp.int32)
        if s.filler == "random":
            inputs = jax.random.randint(filler_key, (s.steps,), 0, s.vocabulary)
        inputs = inputs.at[:shown].set(jnp.stack([keys, values], -1).ravel()).at[at].set(keys)
        targets = jnp.zeros(s.steps, jnp.int32).at[at].set(values)
        return Episode(inputs, targets, jnp.zeros(s.steps).at[at].set(1.0))

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        return {"query_accuracy": accuracy(answers, episode)}

    phases = (("pairs", shown), ("queries", s.steps - shown))
    task = token_task(s.vocabulary, 1 / (s.vocabulary - half), sample, phases)
    return task._replace(main_metric="query_accuracy", metrics=metrics)


mqar = Factory(MqarSettings, _mqar)
