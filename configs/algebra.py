"""Lists of overrides, and how to combine them: what sweeps are made of.

A point is {dotted field: value}; a sweep is a function without arguments that returns a list of
points. `rule.name` and `model.name` choose the config, as FILE:MODEL/RULE does; every other field
is set in it.

    product(over("rule.name", ["hebbian", "gradient"]), over("task.delay", [0, 50]), seeds(5))
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

Overrides = dict[str, Any]


def over(field: str, values: Iterable[Any]) -> list[Overrides]:
    """A point for each value of a field."""
    return [{field: value} for value in values]


def product(*sweeps: Sequence[Overrides]) -> list[Overrides]:
    """Every combination; of fields that two name, the later one counts."""
    return [_merged(points) for points in itertools.product(*sweeps)]


def zip_(*sweeps: Sequence[Overrides]) -> list[Overrides]:
    """The first points together, then the second ones, and so on.

    Raises:
      ValueError: the sweeps are not equally long.
    """
    if len({len(sweep) for sweep in sweeps}) > 1:
        raise ValueError(f"zip_ of sweeps of {[len(s) for s in sweeps]} points: lengths differ")
    return [_merged(points) for points in zip(*sweeps, strict=True)]


def chain(*sweeps: Sequence[Overrides]) -> list[Overrides]:
    """All points of all sweeps; what stands there twice, once."""
    unique: list[Overrides] = []
    for point in itertools.chain(*sweeps):
        if point not in unique:
            unique.append(point)
    return unique


def seeds(count: int, first: int = 0) -> list[Overrides]:
    """One point that trains so many seeds side by side in one program."""
    return [{"seed": first, "train.num_seeds": count}]


def _merged(points: Iterable[Overrides]) -> Overrides:
    merged: Overrides = {}
    for point in points:
        merged |= point
    return merged
