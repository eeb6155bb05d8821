"""Points of a sweep: one config each, with a folder of its own."""

import copy
import dataclasses
import functools
import hashlib
import inspect
import json
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from plasticity.checks import PlasticityError
from plasticity.commands import command
from plasticity.configs.fields import foreign
from plasticity.experiments.cli import RUN_ERROR, RUN_ERRORS, USAGE_ERROR, USER_ERRORS
from plasticity.experiments.configfile import config_module, load_config, resolved
from plasticity.experiments.run.result import read_result
from plasticity.experiments.run.storage import DamagedFileError, is_there
from plasticity.experiments.run.stored_config import changed_fields
from plasticity.experiments.run.tracked import check_trackers
from plasticity.experiments.validate import ConfigError, validate
from plasticity.model import BACKBONES
from plasticity.rules import RULES

SELECTED = ("model.name", "rule.name")  # by the argument of a config file


@dataclasses.dataclass(frozen=True)
class Point:
    """One run.

    file: the config file. given: the text after its colon; `chosen` replaces the model and the rule
    in it. chosen: {field: value} by which the point differs from others. fixed: {field: value} of
    all points. folder: that of all points.
    """

    file: str
    given: str
    chosen: Mapping[str, Any]
    fixed: Mapping[str, Any]
    folder: pathlib.Path

    @property
    def name(self) -> str:
        """The chosen fields and their values."""
        return ",".join(f"{field}={value}" for field, value in self.chosen.items()) or "default"

    @functools.cached_property
    def identity(self) -> str:
        """A hash of the resolved config: equal for equal runs, whatever their overrides.

        Only what differs from the defaults is hashed, so that a later version that has further
        settings finds the runs of an earlier one.
        """
        text = json.dumps(changed_fields(self._config), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def workdir(self) -> pathlib.Path:
        """The folder of the run, directly in `folder`.

        Slashes in a value do not nest it, and its name has at most 255 bytes. The hash keeps apart
        points whose names become equal.
        """
        name = re.sub(r"[/\x00-\x1f]", "_", self.name)[:150]
        return self.folder / f"{name.encode()[:240].decode(errors='ignore')},{self.identity}"

    @property
    def complete(self) -> bool:
        """Whether the run has a result, after as many steps as the config has."""
        there = is_there(self.workdir / "result.json")
        return there and self.result()["steps"] == self._config.train.steps

    def result(self) -> dict[str, Any]:
        """The content of result.json; DamagedFileError: it is not what a run writes."""
        return read_result(self.workdir / "result.json", self._config.train.steps)

    @functools.cached_property
    def _selection(self) -> str | None:
        """The argument that selects the model and the rule; None: that of this file does not."""
        parameters = inspect.signature(config_module(self.file).get_config).parameters.values()
        default = next((str(p.default) for p in parameters if p.default is not p.empty), "")
        *parts, rule = self.given.split("/")
        if rule not in RULES:  # such as TASK in place of TASK/MODEL/RULE
            given = [part for part in (*parts, rule) if part]
            *parts, rule = [*given, *default.split("/")[len(given) :]]
        if rule not in RULES:
            return None
        model = parts.pop() if parts and parts[-1] in BACKBONES else ""
        selected = [self.chosen.get("model.name", model), self.chosen.get("rule.name", rule)]
        return "/".join(str(part) for part in [*parts, *selected] if part)

    @property
    def argument(self) -> str:
        """The text after the colon of --config; empty: the default of the file."""
        selects = any(field in self.chosen for field in SELECTED)
        return (self._selection if selects else None) or self.given

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that are set in the config that the argument selects.

        If points choose their rules, each takes those of the fixed ones that its rule has.
        """
        selected, rule = SELECTED if self._selection else (), self.chosen.get("rule.name", "")
        chosen = {f: v for f, v in self.chosen.items() if f not in selected}
        return chosen | {f: v for f, v in self.fixed.items() if not foreign(f, rule)}

    def config(self) -> ConfigDict:
        """The config; ConfigError: the file has no such config, or a field is none of it."""
        return copy.deepcopy(self._config)

    @functools.cached_property
    def _config(self) -> ConfigDict:
        try:
            return resolved(load_config(self.file, self.argument), self.settings)
        except ConfigError as error:
            raise ConfigError(f"point {self.name}: {error}") from error

    def command(self) -> str:
        """The command that runs the point by itself."""
        config = f"{self.file}:{self.argument}" if self.argument else self.file
        flags = [f"--config={config}", f"--workdir={self.workdir}"]
        flags += [f"--config.{name}={value}" for name, value in self.settings.items()]
        return command("launch", *flags)


class Failure(NamedTuple):
    """A point without a result. untrainable: its training diverged or cannot start to learn.

    Other failures, such as a damaged file, say nothing about the config.
    """

    point: Point
    why: str
    untrainable: bool = False

    def __str__(self) -> str:
        return f"failed: {self.point.workdir}: {self.why}"


def failure(point: Point, error: Exception) -> Failure:
    """The failure that an error means, which is printed."""
    known = isinstance(error, (*USER_ERRORS, *RUN_ERRORS))
    why = str(error) if known else f"{type(error).__name__}: {error}"
    failed = Failure(point, why, isinstance(error, PlasticityError))
    print(failed, file=sys.stderr, flush=True)
    return failed


def by_state(points: Sequence[Point]) -> tuple[list[Point], list[Point], list[Failure]]:
    """Points that are complete, points that are not, and points whose result is damaged."""
    complete, unfinished, damaged = [], [], []
    for point in points:
        try:
            (complete if point.complete else unfinished).append(point)
        except DamagedFileError as error:
            damaged.append(Failure(point, str(error)))
    return complete, unfinished, damaged


def select(points: Sequence[Point], names: Sequence[str]) -> list[Point]:
    """The points with these hashes, or STUDY/HASH.

    Raises:
      ConfigError: there are no hashes, or no point has one of them.
    """
    if not names:
        raise ConfigError("--only= names no point: without the flag, all are run")
    keys = [(point.identity, f"{point.folder.name}/{point.identity}") for point in points]
    if unknown := set(names).difference(*keys):
        raise ConfigError(f"--only={min(unknown)} is the hash of none of the {len(points)} points")
    chosen = set(names)
    return [p for p, own in zip(points, keys, strict=True) if chosen & {*own}]


def check(points: Sequence[Point], here: bool = True) -> None:
    """Raises ConfigError for the first point that cannot be run; the message names it.

    Without `here`, it is not checked whether the points fit the devices of this process.
    """
    for point in points:
        config = point.config()
        try:
            validate(config, here=here)
            check_trackers(config)
        except ConfigError as error:
            raise ConfigError(f"point {point.name}: {error}") from error


def worker_code(failed: Sequence[Failure]) -> int:
    """The exit code of a worker: 2 if a failure may be of another cause than the training."""
    return max((RUN_ERROR if one.untrainable else USAGE_ERROR for one in failed), default=0)


def say_failed(failed: Sequence[Failure], total: int) -> int:
    """Lists failures on stderr: the exit code."""
    if not failed:
        return 0
    print(*failed, sep="\n", file=sys.stderr)
    what = f"{len(failed)} of {total} points failed"
    print(f"error: {what}; the same command tries again what is not complete", file=sys.stderr)
    return RUN_ERROR
