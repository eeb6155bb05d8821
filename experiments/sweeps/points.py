"""Points of a sweep: one config each, with a folder of its own. Checked together, run in turn."""

import functools
import hashlib
import importlib.util
import json
import pathlib
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.run.train import train
from experiments.validate import ConfigError, validate
from plasticity.checks import PlasticityError

CHOOSES = ("model.name", "rule.name")  # what the argument of --config says


class Point(NamedTuple):
    """One run.

    file: of the config. given: what follows its colon, before the point has its say.
    chosen: {field: value} in which the point differs from others; `rule.name` and `model.name`
      are said behind the colon. fixed: what all of them share. folder: of all of them.
    """

    file: str
    given: str
    chosen: Mapping[str, Any]
    fixed: Mapping[str, Any]
    folder: pathlib.Path

    @property
    def name(self) -> str:
        """What sets the point apart, in words."""
        return ",".join(f"{field}={value}" for field, value in self.chosen.items()) or "default"

    @property
    def identity(self) -> str:
        """A hash of the resolved config: the same run, however it was asked for."""
        config = self.config().to_json(sort_keys=True)
        return hashlib.sha256(config.encode()).hexdigest()[:10]

    @property
    def workdir(self) -> pathlib.Path:
        """The folder of the run."""
        return self.folder / f"{self.name[:150]},{self.identity}"

    @property
    def complete(self) -> bool:
        """Whether its result is there."""
        return (self.workdir / "result.json").exists()

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that are set in the config."""
        return {f: v for f, v in self.chosen.items() if f not in CHOOSES} | dict(self.fixed)

    @property
    def argument(self) -> str:
        """What follows the colon of --config."""
        before, slash, rule = self.given.rpartition("/")
        rule = self.chosen.get("rule.name", rule) or "hebbian"
        if "model.name" in self.chosen:
            return f"{self.chosen['model.name']}/{rule}"
        return f"{before}{slash}{rule}"

    def config(self) -> ConfigDict:
        """The config.

        Raises:
          ConfigError: a field of the point is not one of its config.
        """
        config = config_module(self.file).get_config(self.argument)
        try:
            config.update_from_flattened_dict(self.settings)
        except (KeyError, AttributeError, TypeError) as error:
            raise ConfigError(f"point {self.name}: {error}") from error
        return config

    def command(self) -> str:
        """The command that runs the point by itself."""
        settings = [f"--config.{name}={value}" for name, value in self.settings.items()]
        config = f"--config={self.file}:{self.argument}"
        where = f"--workdir={self.workdir}"
        return shlex.join(["python", "-m", "experiments.launch", config, where, *settings])

    def result(self) -> dict[str, Any]:
        """result.json of the finished run."""
        return json.loads((self.workdir / "result.json").read_text())


class InterruptedRunError(Exception):
    """A signal ended a run after it had saved; `code` is what to exit with."""

    def __init__(self, code: int):
        super().__init__(f"exit code {code}")
        self.code = code


def run_all(points: Sequence[Point], failed: list[Point]) -> Iterator[Point]:
    """Runs points in turn and yields those that are complete; those that are already, at once.

    A point that fails is added to `failed`, with its reason on stderr, and the others go on.

    Raises:
      ConfigError: a point cannot be run. Nothing was started.
      InterruptedRunError: by a signal.
    """
    configs = [point.config() for point in points]
    for config in configs:
        validate(config)
    for point, config in zip(points, configs, strict=True):
        print(f"--- {point.command()}", flush=True)
        try:
            code = train(config, str(point.workdir))
        except PlasticityError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            failed.append(point)
            continue
        if code:
            raise InterruptedRunError(code)
        yield point


def say_failed(failed: Sequence[Point]) -> int:
    """Lists what failed on stderr: the exit code."""
    for point in failed:
        print(f"failed: {point.workdir}", file=sys.stderr)
    return 1 if failed else 0


@functools.cache
def config_module(file: str) -> Any:
    """A config file, as a module."""
    spec = importlib.util.spec_from_file_location("swept_config", file)
    assert spec is not None
    assert spec.loader is not None  # a .py file always has one
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
