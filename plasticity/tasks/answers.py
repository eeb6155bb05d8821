"""What tasks with tokens have in common: each answer is a score of every token."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from plasticity.task import Episode, Task
from plasticity.types import Array, Key


def tokens(episode: Episode) -> Array:
    """The inputs [T], without images."""
    return jnp.asarray(episode.inputs)


def cross_entropy(answers: Array, episode: Episode) -> Array:
    """The cross-entropy [T + Q] of answers [T + Q, O] and targets [T + Q]."""
    return optax.softmax_cross_entropy_with_integer_labels(answers, episode.targets)


def correct(answers: Array, targets: Array) -> Array:
    """Whether each answer [..., O] is right: its first largest score is that of the target [...].

    The same as `answers.argmax(-1) == targets`, but that a score which is not a number is never
    right. On CPUs, XLA's `argmax` is some twenty times as slow.
    """
    target = targets[..., None]
    score = jnp.take_along_axis(answers, target, axis=-1)
    before = jnp.arange(answers.shape[-1]) < target
    return jnp.where(before, answers < score, answers <= score).all(-1)


def accuracy(answers: Array, episode: Episode) -> Array:
    """The share of right answers, among those that count."""
    right = correct(answers, episode.targets)
    return (right * episode.weights).sum() / episode.weights.sum()


def token_task(
    vocabulary: int,
    chance: float,
    sample: Callable[[Key, None], Episode],
    phases: tuple[tuple[str, int], ...],
) -> Task:
    """A task of which inputs and answers are tokens, and whose headline metric is accuracy."""
    return Task(
        inputs=vocabulary,
        outputs=vocabulary,
        steps=sum(steps for _, steps in phases),
        main_metric="accuracy",
        chance=chance,
        sample=sample,
        loss=cross_entropy,
        metrics=lambda answers, episode: {"accuracy": accuracy(answers, episode)},
        phases=phases,
        tokens=True,
    )
