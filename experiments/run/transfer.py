"""What a sequence of tasks leaves behind, from the accuracy on every task after each of them.

A matrix R [N + 1, N] holds in row i the accuracy on each of N tasks after i tasks; row 0 is that of
the untrained network. Of one seed; intervals are over seeds.

Sources: Lopez-Paz and Ranzato 2017 (arXiv 1706.08840): average accuracy, backward and forward
transfer. Chaudhry et al. 2018 (arXiv 1801.10112): forgetting. Riemer et al. 2019 (arXiv
1810.11910): learning accuracy. Retention is the average accuracy without the last task, which the
others have to outlast.
"""

from collections.abc import Callable

import numpy as np


def average_accuracy(r: np.ndarray) -> float:
    """The mean over tasks after the last one."""
    return float(r[-1].mean())


def learning_accuracy(r: np.ndarray) -> float:
    """The mean over tasks, of each right after it was learned."""
    return float(np.diagonal(r[1:]).mean())


def forgetting(r: np.ndarray) -> float:
    """The best accuracy after 1 to N - 1 tasks minus the last one, mean over the first N - 1."""
    return float((r[1:-1].max(0) - r[-1])[:-1].mean())


def backward_transfer(r: np.ndarray) -> float:
    """What the tasks after a task changed of its accuracy, mean over all tasks but the last."""
    return float((r[-1] - np.diagonal(r[1:]))[:-1].mean())


def forward_transfer(r: np.ndarray) -> float:
    """What the tasks before a task changed of its accuracy, mean over all tasks but the first."""
    return float((np.diagonal(r) - r[0])[1:].mean())


def retention(r: np.ndarray) -> float:
    """The mean over all tasks but the last, after the last one."""
    return float(r[-1, :-1].mean())


def retention_latest(r: np.ndarray) -> float:
    """That of the task before the last, seen equally long before the end however it is spaced."""
    return float(r[-1, -2])


MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "average_accuracy": average_accuracy,
    "learning_accuracy": learning_accuracy,
    "forgetting": forgetting,
    "backward_transfer": backward_transfer,
    "forward_transfer": forward_transfer,
    "retention": retention,
    "retention_latest": retention_latest,
}
# Those that compare a task with itself when it was just over.
OF_BOUNDARIES = ("learning_accuracy", "backward_transfer", "forward_transfer")


def course(r: np.ndarray) -> dict[str, float]:
    """{"seen_i": mean accuracy on the first i tasks after task i}."""
    return {f"seen_{i}": float(r[i, :i].mean()) for i in range(1, len(r))}


def measured(r: np.ndarray, spaced: bool) -> dict[str, float]:
    """All measures, and the course; if tasks take turns, those alone that need no boundaries."""
    if not spaced:
        return {name: measure(r) for name, measure in MEASURES.items()} | course(r)
    return {name: measure(r) for name, measure in MEASURES.items() if name not in OF_BOUNDARIES}
