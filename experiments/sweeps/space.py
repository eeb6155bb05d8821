"""The points that --sweep and --sweep_over stand for."""

import collections
import inspect
import itertools
import math
import pathlib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from configs.algebra import Overrides, over, product
from configs.sweeps import SWEEPS
from experiments.cli import GivenConfig
from experiments.configfile import config_module
from experiments.sweeps.overrides import MOST_VALUES, values_of
from experiments.sweeps.points import Point
from experiments.validate import ConfigError
from plasticity.registry import nearest


def points_of_sweep(
    given: GivenConfig, sweep: str, sweep_over: Sequence[str], folder: pathlib.Path
) -> list[Point]:
    """The points of a sweep. A point whose resolved config is that of an earlier one is left out.

    Args:
      given: by --config. sweep: by --sweep, or "". sweep_over: by each --sweep_over.
      folder: of the sweep.

    Raises:
      ConfigError: a flag is wrong, or two of them set the same field.
    """
    sweeps = [named_sweep(given.file, sweep)] if sweep else []
    sweeps += [over(*values_of(text, given.config)) for text in sweep_over]
    if math.prod(map(len, sweeps)) > MOST_VALUES:
        raise ConfigError(f"the sweep has more than {MOST_VALUES} points")
    try:
        chosen = product(*sweeps)
    except ValueError as error:
        raise ConfigError(f"--sweep and --sweep_over: {error}") from error
    clash = given.overrides.keys() & {field for one in chosen for field in one}
    if clash:
        raise ConfigError(f"--config.{min(clash)} is what the sweep varies: leave it out")
    points: dict[str, Point] = {}
    for one in chosen:
        point = Point(given.file, given.argument, one, given.overrides, folder)
        points.setdefault(point.identity, point)
    return list(points.values())


def named_sweep(file: str, name: str) -> list[Overrides]:
    """What a function of a config file or of `configs/sweeps.py` returns.

    Raises:
      ConfigError: there is no such function, it raises an error, or it is not a sweep.
    """
    own = vars(config_module(file))
    sweeps = SWEEPS | {key: value for key, value in own.items() if _may_be_sweep(key, value)}
    if name not in sweeps:
        what = "not a sweep, a function without arguments" if name in own else "unknown"
        raise ConfigError(f"--sweep={name} is {what}: {nearest(name, sweeps)}")
    try:
        returned = sweeps[name]()
        points = list(returned) if isinstance(returned, Iterator) else returned
    except Exception as error:
        raise ConfigError(f"--sweep={name} raised {type(error).__name__}: {error}") from error
    if not isinstance(points, list | tuple) or not all(isinstance(p, Mapping) for p in points):
        raise ConfigError(
            f"--sweep={name} returned {reprlib.repr(points)}; a sweep returns a list of "
            "{field: value}, such as [{'seed': 1}, {'seed': 2}]"
        )
    if not any(points):
        raise ConfigError(f"--sweep={name} returned {points!r}, which varies no field")
    return [{str(field): _plain(value) for field, value in one.items()} for one in points]


def _may_be_sweep(name: str, value: Any) -> bool:
    if not inspect.isfunction(value) or name.startswith("_") or name == "get_config":
        return False
    needed = [p for p in inspect.signature(value).parameters.values() if p.default is p.empty]
    return value.__module__ != over.__module__ and not needed


def _plain(value: Any) -> Any:
    """A NumPy scalar as a Python number."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def check_seeds(points: Sequence[Point]) -> None:
    """Raises ConfigError if two points differ in their seeds only, and share one.

    It would be trained twice, and counted twice where results are pooled over seeds.
    """
    alike = collections.defaultdict(list)
    for point in points:
        config = point.config()
        first, count = config.seed, config.train.num_seeds
        config.seed, config.train.num_seeds = 0, 1
        alike[config.to_json(sort_keys=True)].append((first, count, point.name))
    for own in alike.values():
        for (first, count, name), (second, _, other) in itertools.pairwise(sorted(own)):
            if second < first + count:
                raise ConfigError(
                    f"points {name} and {other} share seed={second}: each trains "
                    f"train.num_seeds={count} seeds from `seed` on, so their seeds must differ by "
                    f"{count}, as in config.seed=0:{2 * count}:{count}"
                )
