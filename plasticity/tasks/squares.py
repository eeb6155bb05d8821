"""Squared errors, for tasks whose targets are numbers."""

from plasticity.task import Episode
from plasticity.types import Array


def squares(answers: Array, episode: Episode) -> Array:
    """Answers [T + Q, O] -> squared errors [T + Q], means over O."""
    return ((answers - episode.targets) ** 2).mean(-1)


def query_metrics(first: int, answers: Array, episode: Episode) -> dict[str, Array]:
    """Mean squared errors: of the queries, which begin at step `first`, and of all (published)."""
    errors = squares(answers, episode)
    return {"query_mse": errors[first:].mean(), "paper_validation_mse": errors.mean()}
