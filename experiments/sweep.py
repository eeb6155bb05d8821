r"""Runs a sweep: many points, each a config, on whatever executor there is.

python -m experiments.sweep --config=configs/copying.py --sweep=architectures --workdir=DIR \
    [--sweep_over=config.rule.name=hebbian,gradient --sweep_over=config.seed=0:5] \
    [--executor=local|slurm|ray --workers=N] [--config.train.steps=500 ...] [--dry_run]

A sweep is a function of the config file or of `configs/sweeps.py`; every --sweep_over multiplies it
by the values of a field. Every point is checked before anything starts. A point has a folder of its
own in DIR, named by its fields and by the hash of its resolved config: started again, the sweep
finishes what is unfinished and repeats nothing. A point that fails is tried again --retries times,
and is then listed at the end; the exit code is 1. DIR/results.csv has a row per point,
DIR/seeds.csv one per point and seed.
"""

import sys
from typing import Any

from absl import flags

from configs.algebra import over, product
from configs.sweeps import SWEEPS
from experiments import cli
from experiments.run.storage import logs_of, path_of
from experiments.sweeps.executors import EXECUTORS, make_executor
from experiments.sweeps.overrides import values_of
from experiments.sweeps.points import (
    InterruptedRunError,
    Point,
    config_module,
    run_all,
    say_failed,
)
from experiments.sweeps.schedule import Schedule
from experiments.sweeps.tables import mean_row, seed_rows, write_csv
from experiments.validate import ConfigError, validate
from plasticity.registry import lookup

CONFIG = cli.define_config()
SWEEP = flags.DEFINE_string("sweep", "", "a function of the config file or of configs/sweeps.py")
SWEEP_OVER = flags.DEFINE_multi_string(
    "sweep_over", [], "config.FIELD=VALUE,VALUE,... or config.FIELD=FIRST:END, integers"
)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep; made if it is not there")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the command of every point, run nothing")
EXECUTOR = flags.DEFINE_enum("executor", "local", list(EXECUTORS), "where workers run")
WORKERS = flags.DEFINE_integer("workers", 0, "workers at once; 0: what the executor has", 0)
OPTIONS = flags.DEFINE_list("executor_options", [], "NAME=VALUE of the executor")
RETRIES = flags.DEFINE_integer("retries", 2, "how often a point that failed is tried again", 0)
ONLY = flags.DEFINE_list("only", [], "of a worker: the points with these hashes, in this process")


def points() -> list[Point]:
    """The points that the flags ask for."""
    file, given, overrides, _ = cli.given_config(CONFIG)
    asked = [over(*values_of(told, cli.config_value(CONFIG))) for told in SWEEP_OVER.value]
    chosen = product(_named_sweep(file), *asked)
    clash = {field for point in chosen for field in point if field in overrides}
    if clash:
        raise ConfigError(f"--config.{min(clash)} is what the sweep varies: leave it out")
    folder = path_of("workdir", WORKDIR.value)
    return [Point(file, given, point, overrides, folder) for point in chosen]


def _named_sweep(file: str) -> list[dict[str, Any]]:
    if not SWEEP.value:
        return [{}]
    own = getattr(config_module(file), SWEEP.value, None)
    if callable(own):
        return own()
    try:
        return lookup(SWEEPS, SWEEP.value, "--sweep")()
    except ValueError as error:
        raise ConfigError(str(error)) from error


def main() -> int:
    """Checks every point, runs every point, writes the table."""
    cli.config_value(CONFIG)
    cli.require(workdir=WORKDIR.value)
    if not SWEEP.value and not SWEEP_OVER.value:
        raise ConfigError("--sweep or --sweep_over is missing: there is nothing to vary")
    wanted = points()
    try:
        if ONLY.value:
            return _work([point for point in wanted if point.identity in ONLY.value])
        for point in wanted:
            validate(point.config())
        if DRY_RUN.value:
            print("\n".join(point.command() for point in wanted))
            return 0
        return _sweep(wanted)
    except InterruptedRunError as stop:
        return stop.code


def _work(own: list[Point]) -> int:
    """A worker: the points in turn, in this process."""
    failed: list[Point] = []
    for _ in run_all(own, failed):
        pass
    return say_failed(failed)


def _sweep(wanted: list[Point]) -> int:
    folder = path_of("workdir", WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "results.csv"
    complete = {point.identity for point in wanted if point.complete}

    def done(point: Point) -> None:
        complete.add(point.identity)
        there = [p for p in wanted if p.identity in complete]
        write_csv(table, [mean_row(p) for p in there])
        write_csv(
            folder / "seeds.csv", [row for p in there for row in seed_rows(p.result(), p.chosen)]
        )
        print(f"complete: {len(complete)} of {len(wanted)}: {point.name}", flush=True)

    unfinished = [point for point in wanted if point.identity not in complete]
    print(f"{len(complete)} of {len(wanted)} points are complete", flush=True)
    logs = logs_of(folder)
    executor = make_executor(EXECUTOR.value, WORKERS.value, logs, OPTIONS.value)
    schedule = Schedule(executor, _worker_command, logs, RETRIES.value)
    schedule.run(unfinished, done)
    print(f"{len(complete)} of {len(wanted)} points complete: {table}")
    return say_failed(schedule.failed)


def _worker_command(identities: list[str]) -> list[str]:
    """The command of a worker that runs some points of this sweep."""
    config = cli.given_config(CONFIG)
    return [
        sys.executable,
        "-m",
        "experiments.sweep",
        f"--config={CONFIG.value[0]}",
        *(f"--config.{field}={value}" for field, value in config.overrides.items()),
        f"--sweep={SWEEP.value}",
        *(f"--sweep_over={given}" for given in SWEEP_OVER.value),
        f"--workdir={WORKDIR.value}",
        f"--only={','.join(identities)}",
    ]


if __name__ == "__main__":
    cli.run(main)
