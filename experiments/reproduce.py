r"""The paper's tables as published, or its questions asked properly: one command each.

python -m experiments.reproduce --preset=paper --workdir=DIR
python -m experiments.reproduce --preset=full --workdir=DIR [--tasks=copying,regression] \
    [--budget=smoke|standard] [--features=omniglot:FILE.npz,cifar_fs:FILE.npz] [--workers=2]

The studies stand in `configs/studies.py`, the claims in `configs/claims.py`. Every run has a folder
DIR/STUDY/POINT. Started again, the command finishes what is unfinished, repeats nothing, and comes
to the same tables; --tasks chooses what is run, tables tell all that is finished. DIR then holds

  results.json      one row per run and seed, which runs failed, the command, versions
  published.json    preset paper: published beside ours; also as CSV
  verdicts.json     preset full: the claims, and results.csv
"""

import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from absl import flags

from configs.claims import CLAIMS
from configs.studies import BUDGETS, PRESETS, Study
from experiments import cli
from experiments.reports.compare import decide_claims, published_table, within
from experiments.run.storage import logs_of, path_of, write_json
from experiments.sweeps.campaign import Campaign, Outcome, points_of, run_here
from experiments.sweeps.executors import make_executor
from experiments.sweeps.points import InterruptedRunError, Point, say_failed
from experiments.sweeps.schedule import Schedule
from experiments.sweeps.tables import Row, write_csv
from experiments.validate import ConfigError, validate
from plasticity.data import DATASETS, DataError, load

PRESET = flags.DEFINE_enum("preset", None, list(PRESETS), "as published, or in full")
WORKDIR = flags.DEFINE_string("workdir", None, "folder of all runs; made if it is not there")
TASKS = flags.DEFINE_list("tasks", [], "only these; default: all")
BUDGET = flags.DEFINE_enum("budget", "standard", list(BUDGETS), "how much training")
WORKERS = flags.DEFINE_integer("workers", 1, "processes; 1: this one; 0: one per accelerator", 0)
ONLY = flags.DEFINE_list("only", [], "of a worker: the points with these hashes, in this process")
FEATURES = flags.DEFINE_list("features", [], "DATASET:FILE of experiments.encode, for preset full")


def features_given(given: list[str]) -> dict[str, str]:
    """{data set: file}, from the flag.

    Raises:
      ConfigError: not of the form DATASET:FILE, or no such data set.
    """
    pairs = dict(entry.partition(":")[::2] for entry in given)
    for dataset, file in pairs.items():
        if dataset not in DATASETS or not file:
            raise ConfigError(
                f"--features={dataset}:{file} must be DATASET:FILE, DATASET one of "
                f"{', '.join(DATASETS)}"
            )
    return pairs


def chosen_studies(studies: Mapping[str, Study], tasks: list[str]) -> dict[str, Study]:
    """Those of the tasks; of all, if none is named.

    Raises:
      ConfigError: no study is of such a task.
    """
    known = {study.task for study in studies.values()}
    for task in tasks:
        if task not in known:
            raise ConfigError(f"--tasks={task} is unknown: valid are {', '.join(sorted(known))}")
    return {name: study for name, study in studies.items() if not tasks or study.task in tasks}


def missing(study: Study, features: Mapping[str, str]) -> str:
    """Why the study cannot be run here; empty if it can."""
    if not study.dataset:
        return ""
    if study.frozen and study.dataset not in features:
        return (
            f"it needs features of an encoder: train configs/encoder.py:{study.dataset}, then "
            f"experiments.encode, then --features={study.dataset}:FILE"
        )
    try:
        load(DATASETS[study.dataset])
    except DataError as error:
        return str(error)
    return ""


def features_known(folder: pathlib.Path) -> dict[str, str]:
    """The features with which the folder was last run: those not given anew stay."""
    path = folder / "results.json"
    return json.loads(path.read_text()).get("features", {}) if path.exists() else {}


class Plan(NamedTuple):
    """What the flags ask for; skipped: what of it cannot be run here, {study: why}."""

    campaign: Campaign
    skipped: dict[str, str]
    features: dict[str, str]


def plan_of_flags() -> Plan:
    """What the flags ask for."""
    folder = path_of("workdir", WORKDIR.value)
    features = features_known(folder) | features_given(FEATURES.value)
    studies = PRESETS[PRESET.value]()
    wanted = chosen_studies(studies, TASKS.value)
    skipped = {name: why for name, s in studies.items() if (why := missing(s, features))}
    points: list[Point] = []
    for name, study in studies.items():
        settings = dict(BUDGETS[BUDGET.value][PRESET.value])
        if study.frozen and name not in skipped:
            settings["task.features"] = features[study.dataset]
        if name not in skipped:
            points += points_of(folder, name, study, settings)
    skipped = {name: why for name, why in skipped.items() if name in wanted}
    return Plan(Campaign(folder, studies, points, wanted), skipped, features)


def main() -> int:
    """Runs what can be run, and writes the tables."""
    cli.require(preset=PRESET.value, workdir=WORKDIR.value)
    campaign, skipped, features = plan_of_flags()
    try:
        if ONLY.value:
            return work(campaign)
        for name, why in skipped.items():
            print(f"skipped: {name}: {why}", flush=True)
        for point in campaign.asked:
            validate(point.config())
        campaign.folder.mkdir(parents=True, exist_ok=True)
        about = {"preset": PRESET.value, "budget": BUDGET.value, "skipped": skipped}
        about |= {"features": features}
        about |= {"studies": {name: study.about for name, study in PRESETS[PRESET.value]().items()}}
        outcome = campaign.run(run_here if WORKERS.value == 1 else on_workers, about)
    except InterruptedRunError as stop:
        return stop.code
    TABLES[PRESET.value](campaign.folder, outcome)
    return say_failed(outcome.failed)


def work(campaign: Campaign) -> int:
    """A worker: some points in turn, in this process."""
    own = [point for point in campaign.points if point.identity in ONLY.value]
    return say_failed(run_here(own, campaign.tell))


def on_workers(points: Sequence[Point], done: Callable[[Point], None]) -> list[Point]:
    """A runner: processes side by side."""
    logs = logs_of(path_of("workdir", WORKDIR.value))
    executor = make_executor("local", WORKERS.value, logs, [])
    # Once more at most: what diverges does so again.
    schedule = Schedule(executor, _worker_command, logs, retries=1)
    schedule.run(points, done)
    return schedule.failed


def _worker_command(identities: Sequence[str]) -> list[str]:
    """The command of a worker that runs some points."""
    return [
        sys.executable,
        "-m",
        "experiments.reproduce",
        f"--preset={PRESET.value}",
        f"--workdir={WORKDIR.value}",
        f"--tasks={','.join(TASKS.value)}",
        f"--budget={BUDGET.value}",
        f"--features={','.join(FEATURES.value)}",
        f"--only={','.join(identities)}",
    ]


def write_published(folder: pathlib.Path, outcome: Outcome) -> None:
    """The table of the preset paper."""
    table = published_table(outcome.rows)
    write_csv(folder / "published.csv", table)
    write_json(folder / "published.json", table)
    for row in table:
        print(told(row))
    for deviations in (1, 2):
        inside, cells = within(table, deviations)
        print(f"within {deviations} published standard deviations: {inside} of {cells} cells")


def told(row: Row) -> str:
    """A line of the table, for the terminal."""
    known = "" if row["published"] is None else f"published {row['published']:.4g}"
    if row["published_std"] is not None:
        known += f" +- {row['published_std']:.3g}"
    ours = f"ours {row['ours']:.4g} +- {row['ours_std']:.3g}"
    return f"{row['study']:22}{row['rule']:10}{row['metric']:24}{known:30}{ours}"


def write_verdicts(folder: pathlib.Path, outcome: Outcome) -> None:
    """The claims, judged."""
    verdicts = decide_claims(outcome.rows, CLAIMS, outcome.lost)
    write_csv(folder / "results.csv", outcome.rows)
    write_json(folder / "verdicts.json", verdicts)
    for claim in verdicts:
        print(f"{claim['verdict']:16}{claim['claim']} ({claim['source']})")


TABLES = {"paper": write_published, "full": write_verdicts}


if __name__ == "__main__":
    cli.run(main)
