"""Runs points in this process: alone, or several at once where they differ in numbers only."""

import collections
import math
import sys
from collections.abc import Callable, Iterator, Sequence

import jax

from plasticity.experiments.run.footprint import fitting
from plasticity.experiments.run.program import companions_of
from plasticity.experiments.run.train import train_together
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.sweeps.points import Failure, Point, failure

AUTOMATIC = 0
ABOUT = (
    "points that train at once in one program, at most: those that differ in numbers only, and as "
    "many as fit the memory; 0: one on a CPU, 64 elsewhere"
)
MOST = 64  # by default: each further run costs the host some work at every logged step


def run_all(
    points: Sequence[Point], done: Callable[[Point], object], together: int = AUTOMATIC
) -> list[Failure]:
    """Runs points in this process, on all its devices: those that failed.

    Calls `done` for each point that is complete. A point that fails does not end the others. A
    signal ends all, once the current runs have saved: SystemExit.

    Args:
      together: as of `groups`.
    """
    return [lost for group in groups(points, together) for lost in _run(group, done)]


def _run(group: Sequence[Point], done: Callable[[Point], object]) -> list[Failure]:
    """Runs points at once, or, if that is impossible, one after the other: those that failed."""
    for point in group:
        print(f"--- {point.command()}", flush=True)
    outcomes = _outcomes(group)
    if not outcomes:
        return [lost for point in group for lost in _run([point], done)]
    failed = []
    for point, outcome in zip(group, outcomes, strict=True):
        if isinstance(outcome, Exception):
            failed.append(failure(point, outcome))
        elif outcome == 0:
            done(point)
    if codes := [code for code in outcomes if isinstance(code, int) and code]:
        raise SystemExit(codes[0])
    return failed


def _outcomes(group: Sequence[Point]) -> list[int | Exception]:
    """As of `train_together`; empty if an error is not that of a single point."""
    configs, paths = [p.config() for p in group], [str(p.workdir) for p in group]
    try:
        return train_together(configs, paths, group[0].folder.name)
    except Exception as error:  # of any kind: fifty runs do not end because one is broken
        if len(group) == 1:
            return [error]
        why = f"{len(group)} points cannot train together: {error}"
        print(f"{why}\nEach of them goes on alone.", file=sys.stderr, flush=True)
        return []


def groups(points: Sequence[Point], together: int) -> list[list[Point]]:
    """Points that are run at once, in one list each.

    They have equal `companions_of` and stand at one step: a point that got further alone goes on
    alone, and so does one whose config or folder cannot be read, which training reports.

    Args:
      together: how many, at most, as far as they fit the memory; 0: one on CPUs, where several may
        be slower, and `MOST` elsewhere.
    """
    if together == 1 or (together == AUTOMATIC and jax.default_backend() == "cpu"):
        return [[point] for point in points]
    alike: dict[object, list[Point]] = collections.defaultdict(list)
    for point in points:
        alike[_key(point) or point.workdir].append(point)
    found = []
    for own in alike.values():
        most = min(together or MOST, fitting(own[0].config())) if len(own) > 1 else 1
        for level in _at_one_step(own) if most > 1 else [own]:
            found += _evenly(level, most)
    return found


def _key(point: Point) -> object:
    """What points that train at once have in common; None: the point trains alone."""
    try:
        companions = None if point.complete else companions_of(point.config())
        _saved(point)
    except Exception:  # of any kind: the point's own run reports it
        return None
    return companions and (point.folder, companions)


def _saved(point: Point) -> list[int]:
    """The steps that a point has saved; 0 if there are none."""
    return Workdir(str(point.workdir)).saved_steps() or [0]


def _at_one_step(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Points that can go on from one step.

    A kill while several save leaves some a checkpoint ahead of the others. These go back to the one
    that all have, and do the same again.
    """
    left = [(_saved(point), point) for point in points]
    while left:
        step = min(max(saved) for saved, _ in left)
        reach = step + left[0][1].config().checkpoint.every
        here = [step in saved and max(saved) <= reach for saved, _ in left]
        yield [point for (_, point), yes in zip(left, here, strict=True) if yes]
        left = [one for one, yes in zip(left, here, strict=True) if not yes]


def _evenly(points: Sequence[Point], most: int) -> Iterator[list[Point]]:
    """Lists of at most `most` points, as few and as equal as possible, longer ones first.

    Once the first ones are complete, the rest is divided as before, so that a sweep that is killed
    goes on with the same programs.
    """
    size, longer = divmod(len(points), math.ceil(len(points) / most))
    start = 0
    while start < len(points):
        end = start + size + (start < longer * (size + 1))
        yield list(points[start:end])
        start = end
