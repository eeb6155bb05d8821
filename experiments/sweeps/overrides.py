"""The points of a sweep, from the values of --sweep and --sweep_over."""

import collections
import inspect
import itertools
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from plasticity.configs.algebra import Overrides, over, product
from plasticity.configs.sweeps import SWEEPS
from plasticity.experiments.commandline import GivenConfig
from plasticity.experiments.configfile import config_module, parse_value, section_of
from plasticity.experiments.sweeps.points import Point
from plasticity.experiments.validate import ConfigError
from plasticity.registry import nearest

FORMS = "config.FIELD=VALUE,VALUE,... or config.FIELD=FIRST:END[:STEP], integers"
# Fields whose values contain commas themselves.
COMMA_LISTS = (
    "model.plastic",
    "model.levels",
    "optimizer.periods",
    "log.trackers",
    "curriculum.stages",
    "curriculum.metrics",
)
MOST_VALUES = 10_000


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
    if clash := given.overrides.keys() & {field for one in chosen for field in one}:
        raise ConfigError(f"--config.{min(clash)} is what the sweep varies: leave it out")
    points: dict[str, Point] = {}
    for one in chosen:
        point = Point(given.file, given.argument, one, given.overrides, folder)
        points.setdefault(point.identity, point)
    return list(points.values())


def named_sweep(file: str, name: str) -> list[Overrides]:
    """What a function of a config file or of `configs/sweeps.py` returns; ConfigError: no sweep."""
    own = vars(config_module(file))
    sweeps = SWEEPS | {key: value for key, value in own.items() if _may_be_sweep(key, value)}
    if name not in sweeps:
        what = "not a sweep, a function without arguments" if name in own else "unknown"
        raise ConfigError(f"--sweep={name} is {what}: {nearest(name, sweeps)}")
    try:
        points = [
            # NumPy scalars become Python numbers.
            {str(f).removeprefix("config."): np.asarray(v).item() for f, v in p.items()}
            for p in itertools.islice(sweeps[name](), MOST_VALUES + 1)
        ]
    except Exception as error:
        raise ConfigError(
            f"--sweep={name} failed with {type(error).__name__}: {error}. A sweep returns a list "
            "of {field: value}, such as [{'seed': 1}, {'seed': 2}]"
        ) from error
    if not any(points):
        raise ConfigError(f"--sweep={name} returned {points}, which varies no field")
    return points


def _may_be_sweep(name: str, value: Any) -> bool:
    if not inspect.isfunction(value) or name.startswith("_") or name == "get_config":
        return False
    needed = [p for p in inspect.signature(value).parameters.values() if p.default is p.empty]
    return value.__module__ != over.__module__ and not needed


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


def values_of(given: str, config: ConfigDict) -> tuple[str, list[Any]]:
    """The field and the values of a --sweep_over; errors as of `points_of_sweep`.

    Commas separate values, or semicolons if there is one, for values with commas in them:
    `config.model.plastic=feed_forward;attention,head` has two. FIRST:END:STEP are the integers of
    `range`: `config.seed=0:10:5` has the values 0 and 5.
    """
    name, equals, text = given.partition("=")
    field = name.removeprefix("config.")
    if not equals or field == name:
        meant = name.partition(".")[0] in config
        hint = f": did you mean config.{given}" if equals and meant else ""
        raise ConfigError(f"--sweep_over={given} must be {FORMS}{hint}")
    if field in COMMA_LISTS and "," in text and ";" not in text:
        raise ConfigError(
            f"--sweep_over={given}: {field} takes a list with commas, so semicolons separate its "
            f"values: '--sweep_over=config.{field}=A;B,C', in quotes, has the values A and B,C"
        )
    parts = [part.strip() for part in text.split(";" if ";" in text else ",")]
    try:
        kind = section_of(config, field).get_type(field.rpartition(".")[2])
        return field, [value for part in parts for value in _read(field, part, kind)]
    except ConfigError as error:
        raise ConfigError(f"--sweep_over={given}: {error}") from error


def _read(field: str, text: str, kind: type) -> Iterable[Any]:
    """The value of a text, or the integers of FIRST:END[:STEP]."""
    if not text:
        raise ConfigError("a value is empty; only a sweep function can set an empty string")
    if ":" not in text or kind not in (int, float):
        return [parse_value(field, text, kind)]
    try:
        values = range(*map(int, text.split(":")))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{text!r} must be FIRST:END or FIRST:END:STEP in integers, STEP not 0, such as 0:5 or "
            "0:10:2. Other numbers are listed, such as .001,.003,.01"
        ) from error
    if not values:
        raise ConfigError(f"{text!r} is empty: END is not included, so that 0:5 ends with 4")
    if values[MOST_VALUES:]:
        raise ConfigError(f"{text!r} has more than {MOST_VALUES} values")
    return values
