"""What is wrong with a task is said before anything is compiled, by the name of its field."""

import jax
import jax.numpy as jnp
import pytest

from plasticity.task import Episode, Observation, Task
from plasticity.task_checks import check_task

STEPS, QUERIES, INPUTS, OUTPUTS = 4, 2, 3, 1
COUNT = STEPS + QUERIES


def sample(key, data=None):
    del data
    inputs = jax.random.normal(key, (STEPS, INPUTS))
    return Episode(inputs, jnp.zeros((COUNT, 1)), jnp.ones(COUNT), jnp.zeros((QUERIES, INPUTS)))


def loss(answers, episode):
    return ((answers - episode.targets) ** 2).sum(-1)


GOOD = Task(
    inputs=INPUTS,
    outputs=OUTPUTS,
    steps=STEPS,
    main_metric="mse",
    chance=0.0,
    sample=sample,
    loss=loss,
    metrics=lambda answers, episode: {"mse": loss(answers, episode).mean()},
    phases=(("shown", 3), ("pause", 0), ("asked", 1)),
)


def gives(**parts):
    """A sample whose episode has other parts."""
    return GOOD._replace(sample=lambda key, data: sample(key)._replace(**parts))


def fails(*_):
    return jnp.eyes(3)


WRONG = {
    "no steps": (GOOD._replace(steps=0), "Task.steps is 0, but must be an integer of at least 1"),
    "half an output": (GOOD._replace(outputs=1.5), r"Task.outputs is 1\.5, but must be an integer"),
    "no task": (GOOD._replace(tasks=0), "Task.tasks is 0, but must be an integer of at least 1"),
    "no test": (GOOD._replace(data={"train": 0}), r"Task.data is \['train'\], .*missing"),
    "phases": (GOOD._replace(phases=(("all", 3),)), "Task.phases .* of 4 steps in all, .* not 3"),
    "half a task": (GOOD._replace(tasks=1.5), r"Task.tasks is 1\.5, but must be an integer"),
    "a negative phase": (
        GOOD._replace(phases=(("a", 6), ("b", -2))), "Task.phases .* of integers of at least 0"
    ),
    "sample fails": (GOOD._replace(sample=fails), r"Task.sample fails in .*checks\.py, line \d+: "),
    "a function of a library": (GOOD._replace(loss=jnp.dot), "Task.loss fails in .*: TypeError"),
    "no episode": (GOOD._replace(sample=lambda *_: 1.0), "returns a .*, but must return Episode"),
    "inputs": (gives(inputs=jnp.zeros((4, 2))), r"inputs float32\[4, 2\], .* \[4, 3\]: T = 4"),
    "queries": (gives(queries=jnp.zeros((2, 5))), r"queries float32\[2, 5\].* \[2, 3\]: Q = 2"),
    "weights": (gives(weights=jnp.ones(4)), r"weights float32\[4\], .* \[6\], as T \+ Q = 4 \+ 2"),
    "targets": (gives(targets={"a": jnp.ones((5, 1))}), "targets float32.*a first axis of 6"),
    "tokens": (GOOD._replace(tokens=True), r"integers of shape \[4\].*Task.tokens is True"),
    "no image": (GOOD._replace(image=(8, 8, 1)), "must give an Observation, as Task.image is"),
    "another image": (
        gives(inputs=Observation(jnp.zeros((4, 9, 9, 1)), jnp.zeros((4, 3))))._replace(
            image=(8, 8, 1)
        ),
        r"inputs.image float32\[4, 9, 9, 1\], but must give shape \[4, 8, 8, 1\]",
    ),
    "an image too much": (
        gives(inputs=Observation(jnp.zeros((4, 9, 9, 1)), jnp.zeros((4, 3)))),
        "an Observation, but must give arrays, as Task.image is None",
    ),
    "loss": (GOOD._replace(loss=lambda a, e: loss(a, e).sum()), r"Task.loss gives .* \[6\]"),
    "metric per step": (
        GOOD._replace(metrics=lambda a, e: {"mse": loss(a, e)}),
        r"Task.metrics gives 'mse' float32\[6\], but must give one number of an episode",
    ),
    "metrics": (GOOD._replace(metrics=lambda a, e: loss(a, e).mean()), "Task.metrics gives .*dict"),
    "the name of the loss": (
        GOOD._replace(metrics=lambda a, e: {"loss": loss(a, e).mean()}),
        "'loss', which is the name of the outer loss",
    ),
    "main metric": (GOOD._replace(main_metric="mee"), "is 'mee', but must be .*Task.metrics: mse"),
    "training": (
        GOOD._replace(training=GOOD._replace(outputs=2)),
        "Task.training.outputs is 2, but must be 1",
    ),
    "metrics of training": (
        GOOD._replace(training=GOOD._replace(main_metric="mee")), "Task.main_metric is 'mee'"
    ),
}  # fmt: skip


def test_a_task_whose_parts_fit_passes():
    check_task(GOOD)
    check_task(GOOD._replace(training=GOOD._replace(phases=())))


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    task, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        check_task(task)
