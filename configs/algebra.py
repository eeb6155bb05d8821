"""Sweeps as lists of overrides, and the operators that combine them.

Overrides are {dotted field: value}. A sweep is a function without arguments that returns a list of
them, one for each point. `rule.name` and `model.name` select the config, as FILE:MODEL/RULE does;
every other field is set in it. For example, 2 x 2 points of five seeds each:

    product(over("rule.name", ["hebbian", "gradient"]), over("task.delay", [0, 50]), seeds(5))
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

Overrides = dict[str, Any]


def over(field: str, values: Iterable[Any]) -> list[Overrides]:
    """One point per value of a field."""
    return [{field: value} for value in values]


def product(*sweeps: Sequence[Overrides]) -> list[Overrides]:
    """Every combination of a point of each sweep.

    Raises:
      ValueError: two sweeps set the same field.
    """
    return [_merged(points) for points in itertools.product(*sweeps)]


def zip_(*sweeps: Sequence[Overrides]) -> list[Overrides]:
    """The first points of all sweeps combined, then the second points, and so on.

    Raises:
      ValueError: the sweeps differ in length, or two of them set the same field.
    """
    if len({len(sweep) for sweep in sweeps}) > 1:
        raise ValueError(f"zip_ of sweeps of {[len(s) for s in sweeps]} points: lengths differ")
    return [_merged(points) for points in zip(*sweeps, strict=True)]


def chain(*sweeps: Sequence[Overrides]) -> list[Overrides]:
    """The points of all sweeps, without repetitions."""
    unique: list[Overrides] = []
    for point in itertools.chain(*sweeps):
        if point not in unique:
            unique.append(point)
    return unique


def seeds(count: int, first: int = 0) -> list[Overrides]:
    """One point that trains `count` seeds, from `first` on, side by side in one program."""
    return [{"seed": first, "train.num_seeds": count}]


def _merged(points: Iterable[Overrides]) -> Overrides:
    merged: Overrides = {}
    for point in points:
        if twice := merged.keys() & point.keys():
            raise ValueError(f"{min(twice)} is varied twice: vary each field once")
        merged |= point
    return merged
