"""Checks a task from its shapes alone, before anything is compiled.

Nothing is computed: `jax.eval_shape` follows one episode through sample, loss and metrics.
"""

import numbers
import pathlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from plasticity.task import Episode, Observation, Task
from plasticity.types import PyTree

LIBRARIES = pathlib.Path(jax.__file__).parents[1]  # the folder of installed packages
SPLITS = ("train", "validation", "test")


def check_task(task: Task) -> None:
    """Checks that the parts of a task, and of its training episodes, fit together.

    Raises:
      ValueError: they do not; the message names the field of `Task`, what it gave and what would
        be right.
    """
    _check_fields(task)
    episode = _episode(task)
    answers = _check_episode(task, episode)
    _check_scores(task, answers, episode)
    if task.training is None:
        return
    for name in ("inputs", "outputs", "image", "tokens"):
        here, there = getattr(task, name), getattr(task.training, name)
        if here != there:
            _wrong_field(
                f"training.{name}", there, f"{here!r}, as in the task itself: one net does both"
            )
    check_task(task.training._replace(training=None))


def _wrong_field(field: str, found: Any, right: str) -> NoReturn:
    raise ValueError(f"Task.{field} is {found!r}, but must be {right}")


def _check_fields(task: Task) -> None:
    for name, least in (
        ("inputs", 0 if task.image else 1),
        ("outputs", 1),
        ("steps", 1),
        ("tasks", 1),
    ):
        value = getattr(task, name)
        if not isinstance(value, numbers.Integral) or value < least:
            _wrong_field(name, value, f"an integer of at least {least}")
    if task.data is not None and (missing := set(SPLITS) - set(task.data)):
        _wrong_field(
            "data", sorted(task.data), f"of the splits {', '.join(SPLITS)}: {missing} missing"
        )
    if not all(isinstance(n, numbers.Integral) and n >= 0 for _, n in task.phases):
        _wrong_field("phases", task.phases, "of integers of at least 0")
    if task.phases and (total := sum(steps for _, steps in task.phases)) != task.steps:
        _wrong_field(
            "phases", task.phases, f"of {task.steps} steps in all, Task.steps, and not {total}"
        )


def _traced(field: str, function: Callable[..., PyTree], *arguments: Any) -> PyTree:
    """The shapes of what the function of a field returns.

    Raises:
      ValueError: it raises an error; the message says in which file and line.
    """
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames[1:] if LIBRARIES not in pathlib.Path(f.filename).parents]
        # None is left if the function is one of a library, as a loss may be.
        where, first = (own or frames)[-1], next(iter(str(error).splitlines()), "")
        raise ValueError(
            f"Task.{field} fails in {where.filename}, line {where.lineno}: "
            f"{type(error).__name__}: {first}"
        ) from error


def _episode(task: Task) -> Episode:
    episode = _traced("sample", task.sample, *task.drawn_by)
    if not isinstance(episode, Episode):
        raise ValueError(f"Task.sample returns a {type(episode).__name__}, but must return Episode")
    return episode


def _check_episode(task: Task, episode: Episode) -> jax.ShapeDtypeStruct:
    """Returns the shape of the answers [T + Q, O]."""
    queries = 0 if episode.queries is None else len(jax.tree.leaves(episode.queries)[0])
    _check_inputs(task, "inputs", episode.inputs, f"T = {task.steps} (Task.steps)", task.steps)
    if episode.queries is not None:
        _check_inputs(task, "queries", episode.queries, f"Q = {queries}", queries)
    count = task.steps + queries
    said = f"T + Q = {task.steps} + {queries}"
    if episode.weights.shape != (count,):
        _wrong_part("weights", episode.weights, f"shape [{count}], as {said}")
    for target in jax.tree.leaves(episode.targets):
        if target.shape[:1] != (count,):
            _wrong_part("targets", target, f"a first axis of {count}, as {said}")
    return jax.ShapeDtypeStruct((count, task.outputs), jnp.float32)


def _wrong_part(part: str, found: Any, right: str, of: str = "sample") -> NoReturn:
    """An error about the shape of a part of what a function of the task returned."""
    described = f"{found.dtype}{list(found.shape)}" if hasattr(found, "shape") else found
    raise ValueError(f"Task.{of} gives {part} {described}, but must give {right}")


def _check_inputs(task: Task, part: str, found: Any, said: str, steps: int) -> None:
    if task.image is not None:
        if not isinstance(found, Observation):
            _wrong_part(part, type(found).__name__, "an Observation, as Task.image is given")
        if found.image.shape != (steps, *task.image):
            _wrong_part(
                f"{part}.image", found.image, f"shape {[steps, *task.image]}: {said}, Task.image"
            )
        found, part = found.vector, f"{part}.vector"
    elif isinstance(found, Observation):
        _wrong_part(part, "an Observation", "arrays, as Task.image is None")
    if task.tokens:
        if found.shape != (steps,) or not jnp.issubdtype(found.dtype, jnp.integer):
            _wrong_part(
                part, found, f"integers of shape [{steps}]: {said}, and Task.tokens is True"
            )
    elif found.shape != (steps, task.inputs):
        right = f"shape [{steps}, {task.inputs}]: {said}, I = {task.inputs} (Task.inputs)"
        _wrong_part(part, found, right)


def _check_scores(task: Task, answers: jax.ShapeDtypeStruct, episode: Episode) -> None:
    loss = _traced("loss", task.loss, answers, episode)
    if getattr(loss, "shape", None) != answers.shape[:1]:
        right = f"one number per answer, shape {list(answers.shape[:1])}"
        _wrong_part("an array", loss, right, of="loss")
    metrics = _traced("metrics", task.metrics, answers, episode)
    if not isinstance(metrics, Mapping):
        _wrong_part("a", type(metrics).__name__, "a dict {name: number}", of="metrics")
    for name, value in metrics.items():
        if getattr(value, "shape", None) != ():
            right = "one number of an episode, shape []: its mean over steps, or its last"
            _wrong_part(repr(name), value, right, of="metrics")
    if "loss" in metrics:
        raise ValueError("Task.metrics gives 'loss', which is the name of the outer loss: rename")
    if task.main_metric not in metrics:
        _wrong_field(
            "main_metric", task.main_metric, f"a name in Task.metrics: {', '.join(metrics)}"
        )
