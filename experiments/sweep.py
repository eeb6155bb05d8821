r"""Runs a sweep of `configs/sweeps.py`, one point after the other.

python -m experiments.sweep --config=configs/copying.py --sweep=architectures --workdir=DIR \
    [--config.train.num_seeds=4 ...] [--dry_run]

Every point is checked before the first one starts. A point has a folder of its own in DIR, named
by its overrides: started again, the sweep goes on where it was, and repeats nothing. A point that
fails does not stop the others; it is listed at the end, and the exit code is 1. All results are in
DIR/results.csv.
"""

import csv
import importlib.util
import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from configs.sweeps import SWEEPS
from experiments import cli
from experiments.train import train
from experiments.validate import ConfigError, validate
from plasticity.checks import PlasticityError

CONFIG = cli.define_config()
SWEEP = flags.DEFINE_enum("sweep", None, list(SWEEPS), "a name of configs/sweeps.py")
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep; made if it is not there")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the command of every point, run nothing")
CHOOSES = ("model.name", "rule.name")  # what the argument of --config says


def argument(given: str, point: Mapping[str, Any]) -> str:
    """What follows the colon of --config at a point, if `given` follows it for the sweep."""
    before, slash, rule = given.rpartition("/")
    rule = point.get("rule.name", rule) or "hebbian"
    if "model.name" in point:
        return f"{point['model.name']}/{rule}"
    return f"{before}{slash}{rule}"


def point_name(point: Mapping[str, Any]) -> str:
    """The folder of a point."""
    return ",".join(f"{field}={value}" for field, value in point.items()) or "default"


class Sweep:
    """The points of a sweep, each as config and as command."""

    def __init__(self, points: list[dict[str, Any]], workdir: pathlib.Path):
        flag = flags.FLAGS["config"]
        self.file, _, self.given = config_flags.get_config_filename(flag).partition(":")
        self.overrides = config_flags.get_override_values(flag)
        self.points, self.workdir = points, workdir
        clash = {field for p in points for field in p if field in self.overrides}
        if clash:
            raise ConfigError(f"--config.{min(clash)} is what the sweep varies: leave it out")

    def config(self, point: Mapping[str, Any]) -> ConfigDict:
        """The config of a point."""
        fields = {name: value for name, value in point.items() if name not in CHOOSES}
        config = _get_config(self.file)(argument(self.given, point))
        try:
            config.update_from_flattened_dict(fields | self.overrides)
        except (KeyError, AttributeError, TypeError) as error:
            raise ConfigError(f"point {point_name(point)}: {error}") from error
        return config

    def command(self, point: Mapping[str, Any]) -> str:
        """The command that runs a point by itself."""
        fields = {name: value for name, value in point.items() if name not in CHOOSES}
        settings = [f"--config.{name}={value}" for name, value in (fields | self.overrides).items()]
        config = f"--config={self.file}:{argument(self.given, point)}"
        where = f"--workdir={self.workdir / point_name(point)}"
        return shlex.join(["python", "-m", "experiments.launch", config, where, *settings])

    def row(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A finished point as a row of the table of results."""
        result = json.loads((self.workdir / point_name(point) / "result.json").read_text())
        row = dict(point) | {"seed": result["seed"], "train_episodes": result["train_episodes"]}
        for name, told in result["metrics"].items():
            row |= {name: told["mean"], f"{name}_ci95": told["ci95"]}
        for name, told in result["metrics_plasticity_off"].items():
            row |= {f"{name}_off": told["mean"], f"{name}_off_ci95": told["ci95"]}
        return row


def _get_config(file: str) -> Callable[[str], ConfigDict]:
    """The function `get_config` of a file."""
    spec = importlib.util.spec_from_file_location("swept_config", file)
    assert spec is not None
    assert spec.loader is not None  # the flag has read it already
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config


def write_table(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Writes rows, which may differ in their fields, as CSV."""
    fields = list(dict.fromkeys(field for row in rows for field in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    """Checks every point, runs every point, writes the table."""
    cli.config_value(CONFIG)
    cli.require(sweep=SWEEP.value, workdir=WORKDIR.value)
    sweep = Sweep(SWEEPS[SWEEP.value](), pathlib.Path(WORKDIR.value))
    configs = [sweep.config(point) for point in sweep.points]
    for config in configs:
        validate(config)
    if DRY_RUN.value:
        print("\n".join(map(sweep.command, sweep.points)))
        return 0
    failed, rows = [], []
    for point, config in zip(sweep.points, configs, strict=True):
        print(f"--- {sweep.command(point)}", flush=True)
        try:
            code = train(config, str(sweep.workdir / point_name(point)))
        except PlasticityError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            failed.append(point_name(point))
            continue
        if code:
            return code  # interrupted: everything is saved
        rows.append(sweep.row(point))
        write_table(sweep.workdir / "results.csv", rows)
        jax.clear_caches()
    print(f"{len(rows)} of {len(configs)} points complete: {sweep.workdir / 'results.csv'}")
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
