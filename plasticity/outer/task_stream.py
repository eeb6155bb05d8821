"""A stream of tasks: the slow weights see one after the other, and none of them twice.

Which task an episode belongs to is a function of its update and index, so one compiled program
learns the whole stream, and an episode that is replayed is exactly the one that was seen.

The updates of a task may be R repetitions of a block of updates. Massed, they follow each other;
spaced, the tasks take turns, all but the last one. Example, three tasks of two updates, R = 2:

  massed  1 1 | 2 2 | 3 3        spaced  1 2 1 2 | 3 3

Both have the same episodes, equally often; only their order differs. The last task is the interval
over which the others must be retained: task 2 is last seen equally long before the end. Source: the
spacing effect, Ebbinghaus 1885; a review is Cepeda et al. 2006.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.randomness import RandomStream, fold_many, stream_key
from plasticity.types import Array


class Method(NamedTuple):
    """How a stream is learned; beside it, every optimizer and every rule.

    Attributes:
      joint: every batch has episodes of all tasks, the upper bound.
      replays: a part of each batch are earlier episodes.
      protects: weights that mattered to earlier tasks are held, see `plasticity.outer.ewc`.
      online: of these, at the last task's weights alone.
    """

    joint: bool = False
    replays: bool = False
    protects: bool = False
    online: bool = False


METHODS = {
    "plain": Method(),
    "replay": Method(replays=True),
    "ewc": Method(protects=True),
    "online_ewc": Method(protects=True, online=True),
    "joint": Method(joint=True),
}


class Drawn(NamedTuple):
    """Which B episodes a batch has: update, index and task identify an episode."""

    step: Array  # [B] int32, the update that an episode is, or was, drawn for
    place: Array  # [B] int32, its index there
    which: Array  # [B] int32, the task of the stream


class TaskStream(NamedTuple):
    """A sequence of tasks.

    Attributes:
      tasks: how many.
      steps: updates of each.
      batch: episodes of an update.
      replayed: how many of them come from earlier updates.
      told: boundaries are known, so that the present task is not replayed; otherwise all updates so
        far are. Boundaries are those of massed tasks.
      joint: every batch has episodes of all tasks.
      repetitions: R, which divides the steps.
      spaced: whether the repetitions of a task are apart, see above.
    """

    tasks: int
    steps: int
    batch: int
    replayed: int = 0
    told: bool = True
    joint: bool = False
    repetitions: int = 1
    spaced: bool = False

    def training(self, seed: Array, step: Array, index: Array) -> Drawn:
        """The training episodes with indices [B] of an update []."""
        at = jnp.full_like(index, step)
        if self.joint:
            return Drawn(at, index, (step + index) % self.tasks)
        if self.replayed:
            at, index = self._replayed(seed, step, index)
        block, last = self.steps // self.repetitions, self.tasks - 1
        which = jnp.minimum(at // self.steps, last)
        if self.spaced:
            which = jnp.where(at < last * self.steps, at // block % last, last)
        first = at if self.repetitions == 1 else which * self.steps + at % block
        return Drawn(first, index, which)

    def evaluation(self, index: Array) -> Drawn:
        """The fixed episodes with indices [B]: of all tasks in turn."""
        return Drawn(jnp.zeros_like(index), index, index % self.tasks)

    def _replayed(self, seed: Array, step: Array, index: Array) -> tuple[Array, Array]:
        """The update and index that an episode was first seen at, of those that are replayed."""
        before = step // self.steps * self.steps if self.told else step
        keys = fold_many(stream_key(seed, RandomStream.REPLAY, step), index)

        def earlier(key: Array) -> tuple[Array, Array]:
            when, which = jax.random.split(key)
            there = jax.random.randint(when, (), 0, jnp.maximum(before, 1))
            return there, jax.random.randint(which, (), self.replayed, self.batch)

        there, whose = jax.vmap(earlier)(keys)
        again = (index < self.replayed) & (before > 0)
        return jnp.where(again, there, step), jnp.where(again, whose, index)
