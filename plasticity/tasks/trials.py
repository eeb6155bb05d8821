"""What tasks of working memory share: items, an interval, then independent queries.

A kind draws what is shown and asked (`Trial`); here are its settings, the layout of an episode, the
draw of set size and interval, and the metrics. The kinds: `plasticity/tasks/working_memory.py`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.settings import Settings, size
from plasticity.task import Episode, Task
from plasticity.types import Array, Key

FORWARD, BACK, JUDGE = range(3)  # marks of a step
MARKS = 4  # with that of a query


@dataclasses.dataclass(frozen=True)
class WorkingMemorySettings(Settings):
    """Sizes of an episode."""

    section = "task"
    items: int = size(6, "most items of an episode", low=2)
    fewest: int = size(1, "fewest items of a training episode")
    test_items: int = size(6, "items of validation and test")
    interval: int = size(8, "most blank steps between items and queries in training", low=0)
    test_interval: int = size(8, "blank steps in validation and test", low=0)
    symbols: int = size(16, "different symbols", low=2)

    def check(self) -> None:
        """Raises ValueError for more items than there are symbols or places."""
        for name, value in (("fewest", self.fewest), ("test_items", self.test_items)):
            if value > self.items:
                raise ValueError(f"task.{name}={value} must be at most task.items={self.items}")
        if self.symbols < 2 * self.items:
            raise ValueError(
                f"task.symbols={self.symbols} must be at least {2 * self.items}, 2 * task.items: "
                "there are items that were shown and as many that were not"
            )


class Trial(NamedTuple):
    """What is shown and asked."""

    steps: Array  # [K, I], before the interval
    queries: Array  # [Q, I]
    answers: Array  # [Q, O], distributions
    weights: Array  # [Q]
    judged: Array | None = None  # [K, O], answers due at a step itself, 0 where none; None: none


class Kind(NamedTuple):
    """One of the tasks.

    draw: (key, settings, shown [N] bool) -> Trial; an item that is not shown is a blank step.
    phases: settings -> those of the K steps before the interval.
    chance: settings -> chance level.
    positions: whether query i asks for item i.
    """

    draw: Callable[[Key, Any, Array], Trial]
    phases: Callable[[Any], tuple[tuple[str, int], ...]]
    chance: Callable[[Any], float]
    positions: bool = True


def encoded(
    s: WorkingMemorySettings,
    place: Array | None = None,
    symbol: Array | None = None,
    mark: Array | None = None,
    query: bool = False,
) -> Array:
    """Inputs [K, I] of places, symbols and marks [K], each of which may be missing."""
    parts = ((place, s.items), (symbol, s.symbols), (mark, MARKS - 1))
    (count,) = {len(part) for part, _ in parts if part is not None}
    blank = jnp.full((count,), -1)  # its one-hot vector is 0
    vectors = [jax.nn.one_hot(blank if part is None else part, n) for part, n in parts]
    return jnp.concatenate([*vectors, jnp.full((count, 1), float(query))], -1)


def answers_of(s: WorkingMemorySettings, labels: Array) -> Array:
    """Distributions [K, O] of labels [K]: symbols, or `symbols` + 1 for yes and + 0 for no."""
    return jax.nn.one_hot(labels, s.symbols + 2)


def share_found(answers: Array, targets: Array) -> Array:
    """[K]: of the k labels in targets [K, O], the share that is among the k likeliest answers."""
    asked = targets > 0
    rank = jnp.argsort(jnp.argsort(-answers, -1), -1)
    count = asked.sum(-1, keepdims=True)
    return (asked & (rank < count)).sum(-1) / jnp.maximum(count[..., 0], 1)


def make(kind: Kind) -> Callable[[WorkingMemorySettings], Task]:
    """The function from settings to the task."""

    def task(s: WorkingMemorySettings) -> Task:
        training = _task(kind, s, (s.fewest, s.items), (0, s.interval), s.interval)
        size, wait = s.test_items, s.test_interval
        return _task(kind, s, (size, size), (wait, wait), wait)._replace(training=training)

    return task


def _task(kind: Kind, s: Any, sizes: tuple[int, int], waits: tuple[int, int], most: int) -> Task:
    phases = (*kind.phases(s), ("interval", most))
    steps = sum(count for _, count in phases)
    start = steps - most

    def sample(key: Key, data: None = None) -> Episode:
        del data
        size_key, wait_key, key = jax.random.split(key, 3)
        size = jax.random.randint(size_key, (), sizes[0], sizes[1] + 1)
        wait = jax.random.randint(wait_key, (), waits[0], waits[1] + 1)
        trial = kind.draw(key, s, jnp.arange(s.items) >= s.items - size)
        judged = jnp.zeros((start, s.symbols + 2)) if trial.judged is None else trial.judged

        def placed(rows: Array) -> Array:  # a shorter interval is a later start
            rows = jnp.concatenate([rows, jnp.zeros((most, *rows.shape[1:]))])
            return jnp.roll(rows, most - wait, 0)

        targets = jnp.concatenate([placed(judged), trial.answers])
        weights = jnp.concatenate([placed(judged.sum(-1)), trial.weights])
        return Episode(placed(trial.steps), targets, weights, trial.queries)

    def loss(answers: Array, episode: Episode) -> Array:
        return optax.softmax_cross_entropy(answers, episode.targets)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        right = share_found(answers, episode.targets)
        weights = episode.weights[steps:]
        asked = (right[steps:] * weights).sum() / weights.sum()
        by_position = {}
        if kind.positions and sizes[0] == sizes[1]:
            first = s.items - sizes[0]
            by_position = {f"position_{i + 1}": right[steps + first + i] for i in range(sizes[0])}
        return {"accuracy": asked} | by_position

    return Task(
        inputs=s.items + s.symbols + MARKS,
        outputs=s.symbols + 2,
        steps=steps,
        main_metric="accuracy",
        chance=kind.chance(s),
        sample=sample,
        loss=loss,
        metrics=metrics,
        phases=tuple(phase for phase in phases if phase[1]),
    )
