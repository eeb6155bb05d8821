"""Squared errors, of tasks whose answers are numbers."""

from plasticity.types import Array, Episode


def squares(answers: Array, episode: Episode) -> Array:
    """The squared error of every answer [T + Q, O], [T + Q]."""
    return ((answers - episode.targets) ** 2).mean(-1)


def query_metrics(first: int, answers: Array, episode: Episode) -> dict[str, Array]:
    """The mean over answers from `first` on, where queries begin, and over all, as the paper's."""
    errors = squares(answers, episode)
    return {"query_mse": errors[first:].mean(), "paper_validation_mse": errors.mean()}
