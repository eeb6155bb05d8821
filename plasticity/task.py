"""What a task is: episodes, and the records that describe their distribution."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.registry import exportable
from plasticity.types import Array, PyTree


class Observation(NamedTuple):
    """Inputs that include an image."""

    image: Array  # [T, H, W, channels]
    vector: Array  # [T, I]


class Episode(NamedTuple):
    """One episode of a task: T steps, then Q independent queries.

    A query is answered from the state after all steps and writes nothing, so no query affects
    another. In targets, weights and answers, queries follow the steps.
    """

    inputs: Array | Observation  # [T, I], or tokens [T] int32 below I
    targets: PyTree  # leading axis T + Q
    weights: Array  # [T + Q], weight of each answer in the outer loss, not all zero
    queries: Array | Observation | None = None  # [Q, I], or tokens [Q]


exportable(Observation, Episode)


def without_unused_nans(targets: PyTree, weights: Array) -> PyTree:
    """The targets, 0 in place of NaN where the weight is 0.

    A mask of the loss alone is not enough: under it the gradient of (a - NaN)^2 is 0 * NaN, NaN.
    """

    def clean(target: Array) -> Array:
        if not jnp.issubdtype(target.dtype, jnp.inexact):
            return target
        unused = (weights == 0).reshape(*weights.shape, *(1,) * (target.ndim - weights.ndim))
        return jnp.where(unused & jnp.isnan(target), 0, target)

    return jax.tree.map(clean, targets)


class TaskShape(NamedTuple):
    """The part of a task's description that a backbone is built from."""

    inputs: int  # I
    outputs: int  # O
    steps: int  # T
    image: tuple[int, int, int] | None = None  # H, W, channels, if inputs are `Observation`s
    reference_images: Array | None = None  # [n, H, W, channels], by which embeddings are centred
    tokens: bool = False  # whether inputs are integers below I, for the one-hot vectors of size I


class Task(NamedTuple):
    """A distribution over episodes, with its loss and metrics.

    Attributes:
      inputs: I, without the image.
      outputs: O.
      steps: T.
      main_metric: the headline metric.
      chance: its value for the best input-independent predictor.
      sample: (key, data) -> Episode, a pure function; `data` is an entry of the field `data`. Of a
        stream of `tasks` tasks it is (key, data, which of them [] int32) -> Episode.
      loss: (answers [T + Q, O], episode) -> [T + Q], unweighted.
      metrics: (answers [T + Q, O], episode) -> {name: []}, of one episode.
      image: see `TaskShape`.
      reference_images: see `TaskShape`.
      tokens: see `TaskShape`.
      data: {"train" | "validation" | "test": arrays}; None: an episode depends on the key alone.
      checksum: of the data.
      phases: (event, steps) in order, T steps in all; the first phase is the informative one.
      training: what training draws its episodes from, a task of the same I and O, and perhaps
        another T; None: this task.
      tasks: how many a stream has, one after the other; 1: it is no stream.
    """

    inputs: int
    outputs: int
    steps: int
    main_metric: str
    chance: float | None
    sample: Callable[..., Episode]
    loss: Callable[[Array, Episode], Array]
    metrics: Callable[[Array, Episode], dict[str, Array]]
    image: tuple[int, int, int] | None = None
    reference_images: Array | None = None
    data: Mapping[str, PyTree] | None = None
    checksum: str | None = None
    phases: tuple[tuple[str, int], ...] = ()
    tokens: bool = False
    training: "Task | None" = None
    tasks: int = 1

    @property
    def metric_names(self) -> list[str]:
        """The names of the metrics in training."""
        task = self.trained_on
        episode = jax.eval_shape(task.sample, *task.drawn_by)
        answers = jax.ShapeDtypeStruct((*episode.weights.shape, task.outputs), jnp.float32)
        return sorted(jax.eval_shape(task.metrics, answers, episode))

    @property
    def drawn_by(self) -> tuple[PyTree, ...]:
        """Arguments of `sample` for a training episode, of the first task of a stream."""
        data = None if self.data is None else self.data["train"]
        which = (jnp.zeros((), jnp.int32),) if self.tasks > 1 else ()
        return (jax.random.key(0), data, *which)

    @property
    def events(self) -> tuple[str, ...]:
        """The event of each of the T steps."""
        return tuple(event for event, steps in self.phases for _ in range(steps))

    @property
    def shape(self) -> TaskShape:
        """The sizes that a backbone is built from."""
        images = (self.image, self.reference_images)
        return TaskShape(self.inputs, self.outputs, self.steps, *images, self.tokens)

    @property
    def trained_on(self) -> "Task":
        """The task of the training episodes."""
        return self.training or self
