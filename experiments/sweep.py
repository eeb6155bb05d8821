r"""Runs a sweep of `configs/sweeps.py`, one point after the other.

python -m experiments.sweep --config=configs/copying.py --sweep=architectures --workdir=DIR \
    [--config.train.num_seeds=4 ...] [--dry_run]

Every point is checked before the first one starts. A point has a folder of its own in DIR, named
by its overrides: started again, the sweep goes on where it was, and repeats nothing. A point that
fails does not stop the others; it is listed at the end, and the exit code is 1. All results are in
DIR/results.csv.
"""

import pathlib

from absl import flags
from ml_collections.config_flags import config_flags

from configs.sweeps import SWEEPS
from experiments import cli
from experiments.points import InterruptedRunError, Point, run_all, say_failed
from experiments.tables import mean_row, write_csv
from experiments.validate import ConfigError, validate

CONFIG = cli.define_config()
SWEEP = flags.DEFINE_enum("sweep", None, list(SWEEPS), "a name of configs/sweeps.py")
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep; made if it is not there")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the command of every point, run nothing")


def points() -> list[Point]:
    """The points that the flags ask for."""
    flag = flags.FLAGS["config"]
    file, _, given = config_flags.get_config_filename(flag).partition(":")
    overrides = config_flags.get_override_values(flag)
    chosen = SWEEPS[SWEEP.value]()
    clash = {field for point in chosen for field in point if field in overrides}
    if clash:
        raise ConfigError(f"--config.{min(clash)} is what the sweep varies: leave it out")
    folder = pathlib.Path(WORKDIR.value)
    return [Point(file, given, point, overrides, folder) for point in chosen]


def main() -> int:
    """Checks every point, runs every point, writes the table."""
    cli.config_value(CONFIG)
    cli.require(sweep=SWEEP.value, workdir=WORKDIR.value)
    wanted = points()
    if DRY_RUN.value:
        for point in wanted:
            validate(point.config())
        print("\n".join(point.command() for point in wanted))
        return 0
    failed, rows = [], []
    table = pathlib.Path(WORKDIR.value) / "results.csv"
    try:
        for point in run_all(wanted, failed):
            rows.append(mean_row(point))
            write_csv(table, rows)
    except InterruptedRunError as stop:
        return stop.code
    print(f"{len(rows)} of {len(wanted)} points complete: {table}")
    return say_failed(failed)


if __name__ == "__main__":
    cli.run(main)
