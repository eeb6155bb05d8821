r"""Runs a sweep: many points, each a config, on one machine or many.

python -m experiments.sweep --config=copying --sweep=architectures --workdir=DIR \
    [--sweep_over=config.rule.name=hebbian,gradient --sweep_over=config.seed=0:5] \
    [--executor=local|slurm|ray --workers=N] [--together=N] [--config.x.y=v ...] [--dry_run]

A sweep is a function of the config file or of `plasticity.configs.sweeps`; each --sweep_over
multiplies it by the values of a field. Every point is checked before any starts. A point has a
folder of its own in DIR, named by its fields and by the hash of its resolved config. Points that
differ only in numbers, such as seeds and rates, train --together=N in one program. The same
command resumes the sweep and repeats nothing. A point that fails is tried again --retries times,
then listed at the end, and the exit code is 1. DIR/results.csv has a row per point, DIR/seeds.csv
one per point and seed.
"""

import itertools
import pathlib
import sys
from collections.abc import Mapping, Sequence

from absl import flags

from plasticity.experiments import cli, unread
from plasticity.experiments.run.storage import DamagedFileError, check_folder, logs_of, path_of
from plasticity.experiments.sweeps.executors import EXECUTORS, keeps_apart, make_executor
from plasticity.experiments.sweeps.overrides import FORMS, check_seeds, points_of_sweep
from plasticity.experiments.sweeps.points import (
    Point,
    by_state,
    check,
    say_failed,
    select,
    worker_code,
)
from plasticity.experiments.sweeps.replace import by_fields, write_csv
from plasticity.experiments.sweeps.schedule import Schedule, worker_command
from plasticity.experiments.sweeps.tables import (
    mean_row,
    report_hint,
    seed_rows,
    summary,
)
from plasticity.experiments.sweeps.together import ABOUT, AUTOMATIC, run_all
from plasticity.experiments.validate import ConfigError

CONFIG = cli.define_config()
SWEEP = flags.DEFINE_string(
    "sweep", "", "a function of the config file or of plasticity.configs.sweeps"
)
SWEEP_OVER = flags.DEFINE_multi_string("sweep_over", [], FORMS)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep; made if it is not there")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the command of every point, run nothing")
EXECUTOR = flags.DEFINE_enum("executor", "local", list(EXECUTORS), "where workers run")
WORKERS = flags.DEFINE_integer("workers", 0, "workers at once; 0: what the executor has", 0, 10_000)
OPTIONS = flags.DEFINE_list("executor_options", [], "NAME=VALUE of the executor")
TOGETHER = flags.DEFINE_integer("together", AUTOMATIC, ABOUT, 0, 10_000)
RETRIES = flags.DEFINE_integer("retries", 2, "how often a point that failed is tried again", 0)
ONLY = flags.DEFINE_list("only", [], "of a worker: the points with these hashes, in this process")


def main() -> int:
    """Checks every point, runs every point, writes the tables."""
    given = cli.given_config(CONFIG)
    cli.require(workdir=WORKDIR.value)
    if not SWEEP.value and not SWEEP_OVER.value:
        raise ConfigError("--sweep or --sweep_over is missing: there is nothing to vary")
    folder = path_of("workdir", WORKDIR.value)
    check_folder("workdir", folder)
    points = points_of_sweep(given, SWEEP.value, SWEEP_OVER.value, folder)
    if ONLY.present:
        points = select(points, ONLY.value)
    check(points, here=ONLY.present or not keeps_apart(EXECUTOR.value))
    if ONLY.present:
        return worker_code(run_all(points, lambda _: None, TOGETHER.value))
    check_seeds(points)
    for note in unread.notes_of_all([(point.config(), point.chosen) for point in points]):
        print(note, file=sys.stderr)
    if DRY_RUN.value:
        print("\n".join(point.command() for point in points))
        return 0
    return _sweep(points, folder)


def _sweep(points: Sequence[Point], folder: pathlib.Path) -> int:
    logs = logs_of(folder)
    check_folder("workdir", logs)
    executor = make_executor(EXECUTOR.value, WORKERS.value, logs, OPTIONS.value)
    complete, unfinished, failed = by_state(points)
    if len(failed) == len(points):
        raise DamagedFileError(f"no point can be run: {'; '.join(one.why for one in failed)}")
    folder.mkdir(parents=True, exist_ok=True)
    results = {point.identity: point.result() for point in complete}
    identity = by_fields(dict.fromkeys([*(f for point in points for f in point.chosen), "seed"]))

    def write() -> Sequence[tuple[Mapping, Mapping]]:
        known = [(p.chosen, results[p.identity]) for p in points if p.identity in results]
        write_csv(folder / "results.csv", [mean_row(*one) for one in known], identity)
        seeds = [seed_rows(result["seeds"], chosen) for chosen, result in known]
        write_csv(folder / "seeds.csv", list(itertools.chain(*seeds)), identity)
        return known

    def done(point: Point) -> None:
        results[point.identity] = point.result()
        write()
        print(f"complete: {len(results)} of {len(points)}: {point.name}", flush=True)

    print(f"{len(results)} of {len(points)} points are complete", flush=True)
    schedule = Schedule(executor, worker_command("sweep"), logs, RETRIES.value)
    failed += schedule.run(unfinished, done)
    if results:
        print(summary(write()))
        print(report_hint(folder))
    print(f"{len(results)} of {len(points)} points complete: {folder / 'results.csv'}")
    return say_failed(failed, len(points))


if __name__ == "__main__":
    cli.run(main)
