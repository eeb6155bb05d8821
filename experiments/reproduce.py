r"""The paper's tables under its own protocol, or its claims under a sound one: one command each.

python -m experiments.reproduce --preset=paper --workdir=DIR
python -m experiments.reproduce --preset=full --workdir=DIR [--tasks=copying,regression] \
    [--budget=smoke|standard] [--features=omniglot:FILE.npz,cifar_fs:FILE.npz] \
    [--workers=2] [--together=N]
python -m experiments.reproduce --preset=decisive --workdir=DIR --before=experiments/results/full \
    [--gather] [--known=experiments/results/decisive]

`configs/studies.py` defines the studies, `configs/claims.py` the claims. Every run has a folder
DIR/STUDY/POINT. The same command resumes what is unfinished and repeats nothing. --tasks selects
the runs to start; the tables contain all complete ones. --gather starts none. Untrained memories
(preset memories, `configs/probes.py`) are measured within a minute or two, once, with --gather too;
their tasks are `interference` and `conditioning`. --before names an earlier campaign: its verdicts
stand beside the new ones, and before anything is trained it is said what the seeds to come can see,
by the spread of the earlier ones. --known names a folder with the results.csv of a campaign of the
same preset, such as that of another machine: its points are not run again. DIR then holds

  results.json      a row per run and seed, failed runs with reasons, command, versions
  published.json    preset paper: published numbers beside ours; also as CSV
  verdicts.json     other presets: the verdict on each claim; results.csv has the rows
  power.json        with --before: the smallest effect that each comparison can see
"""

import functools
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from plasticity.commands import program
from plasticity.configs.claim_lists import CLAIMS
from plasticity.configs.probes import PROBES, ProbeStudy
from plasticity.configs.studies import BUDGETS, PRESETS, Study
from plasticity.data import DATASETS, DataError, load
from plasticity.experiments import cli
from plasticity.experiments.reports import campaigns
from plasticity.experiments.reports.compare import (
    NO_EVIDENCE,
    decide_claims,
    published_table,
    within,
)
from plasticity.experiments.run.manifest import describe_launch
from plasticity.experiments.run.storage import DamagedFileError, check_folder, logs_of, path_of
from plasticity.experiments.sweeps.campaign import (
    IDENTITY,
    Campaign,
    Outcome,
    Runner,
    points_of,
    stored_results,
)
from plasticity.experiments.sweeps.executors import keeps_apart, make_executor
from plasticity.experiments.sweeps.known import known_rows
from plasticity.experiments.sweeps.points import (
    Failure,
    Point,
    check,
    say_failed,
    select,
    worker_code,
)
from plasticity.experiments.sweeps.probes import measure
from plasticity.experiments.sweeps.replace import by_fields, write_csv, write_value
from plasticity.experiments.sweeps.schedule import Schedule, worker_command
from plasticity.experiments.sweeps.tables import Row, report_hint
from plasticity.experiments.sweeps.together import ABOUT, AUTOMATIC, run_all
from plasticity.experiments.validate import ConfigError
from plasticity.registry import nearest

PRESET = flags.DEFINE_enum("preset", None, list(PRESETS), "as published, or in full")
WORKDIR = flags.DEFINE_string("workdir", None, "folder of all runs; made if it is not there")
TASKS = flags.DEFINE_list("tasks", [], "only these; default: all")
BUDGET = flags.DEFINE_enum("budget", "standard", list(BUDGETS), "how much training")
WORKERS = flags.DEFINE_integer(
    "workers", 1, "processes; 1: this one; 0: one per accelerator", 0, 999
)
TOGETHER = flags.DEFINE_integer("together", AUTOMATIC, ABOUT, 0, 10_000)
ONLY = flags.DEFINE_list("only", [], "of a worker: the points with these hashes, in this process")
FEATURES = flags.DEFINE_list("features", [], "DATASET:FILE of `encode`, for preset full")
BEFORE = flags.DEFINE_string("before", None, "folder of an earlier campaign, of preset full")
KNOWN = flags.DEFINE_string("known", None, "folder with results.csv of runs made elsewhere")
GATHER = flags.DEFINE_bool("gather", False, "run nothing: tables of what is complete")

HOW_TO_MAKE = (
    f"Train --config=encoder:{{0}}, run {program('encode')}, then give --features={{0}}:FILE"
)


def features_given(given: Sequence[str]) -> dict[str, str]:
    """{data set: file}, from the flag; ConfigError if it is wrong."""
    pairs = [entry.partition(":")[::2] for entry in given]
    for dataset, file in pairs:
        flag = f"--features={dataset}:{file}"
        if dataset not in DATASETS or not file:
            raise ConfigError(f"{flag} must be DATASET:FILE, DATASET one of {', '.join(DATASETS)}")
        if not os.path.isfile(os.path.expanduser(file)):
            raise ConfigError(f"{flag}: there is no such file. {HOW_TO_MAKE.format(dataset)}")
    return {dataset: os.path.expanduser(file) for dataset, file in pairs}


def features_known(folder: pathlib.Path) -> dict[str, str]:
    """The features of the last launch in the folder: they stay unless they are given again."""
    try:
        return stored_results(folder).get("features", {})
    except DamagedFileError as error:
        print(f"{error}: --features of earlier launches are not known", file=sys.stderr)
        return {}


def chosen_studies(
    studies: Mapping[str, Study | ProbeStudy], tasks: Sequence[str]
) -> dict[str, Study | ProbeStudy]:
    """The studies of these tasks; all if none is named. ConfigError: no study is of such a task."""
    if TASKS.present and not tasks:
        raise ConfigError("--tasks= names no task: without the flag, all are run")
    known = sorted({study.task for study in studies.values()})
    for task in tasks:
        if task not in known:
            raise ConfigError(f"--tasks={task} is unknown: {nearest(task, known)}")
    return {name: study for name, study in studies.items() if not tasks or study.task in tasks}


def missing(study: Study, features: Mapping[str, str]) -> str:
    """Why the study cannot be run here; empty if it can."""
    if not study.dataset:
        return ""
    if study.frozen and study.dataset not in features:
        return f"it needs features of an encoder. {HOW_TO_MAKE.format(study.dataset)}"
    try:
        load(DATASETS[study.dataset])
    except DataError as error:
        return str(error)
    return ""


def main() -> int:
    """Runs what can be run, and writes the tables."""
    cli.require(preset=PRESET.value, workdir=WORKDIR.value)
    folder = path_of("workdir", WORKDIR.value)
    check_folder("workdir", folder)
    if BEFORE.value and PRESET.value not in CLAIMS:
        raise ConfigError(f"--before={BEFORE.value}: the preset {PRESET.value!r} tests no claims")
    _earlier()  # before anything is written
    features = features_known(folder) | features_given(FEATURES.value)
    studies = PRESETS[PRESET.value]()
    probes = PROBES.get(PRESET.value, dict)()
    wanted = chosen_studies(studies | probes, TASKS.value)
    skipped = {name: why for name, s in studies.items() if (why := missing(s, features))}
    points: list[Point] = []
    for name, study in studies.items():
        # What is skipped has points all the same: their rows may be known.
        file = features.get(study.dataset, study.dataset)
        settings = BUDGETS[BUDGET.value][PRESET.value]
        settings = settings | ({"task.features": file} if study.frozen else {})
        points += points_of(folder, name, study, settings)
    known = known_rows(path_of("known", KNOWN.value)) if KNOWN.value else {}
    campaign = Campaign(folder, studies, points, wanted.keys() - skipped.keys(), known)
    if ONLY.present:
        own = select(points, ONLY.value)
        check(own)
        return worker_code(run_all(own, campaign.gather, TOGETHER.value))
    if known and not campaign.known:
        raise ConfigError(f"--known={KNOWN.value} has no point of the preset {PRESET.value!r}")
    apart = not GATHER.value and WORKERS.value != 1 and keeps_apart("local")
    if not GATHER.value:  # which trains nothing
        check(campaign.asked, here=not apart)
    skipped = {name: why for name, why in skipped.items() if name in wanted}
    for name, why in skipped.items():
        print(f"skipped: {name}: {why}", flush=True)
    about = {"preset": PRESET.value, "budget": BUDGET.value, "features": features}
    about |= {"skipped": skipped, "launch": describe_launch(apart)}
    about["studies"] = {name: study.about for name, study in (studies | probes).items()}
    if BEFORE.value:
        say_power(folder, points)
    runner: Runner = functools.partial(run_all, together=TOGETHER.value)
    if GATHER.value:
        runner = run_none
    elif WORKERS.value != 1:
        logs = logs_of(folder)
        check_folder("workdir", logs)
        executor = make_executor("local", WORKERS.value, logs)
        # One retry: a run that diverges does so again.
        runner = Schedule(executor, worker_command("reproduce", by_study=True), logs, retries=1).run
    outcome = campaign.run(runner, about, measure(folder, probes, wanted))
    TABLES[PRESET.value](folder, outcome)
    print(report_hint(folder))
    return say_failed(outcome.failed, len(points))


def run_none(points: Sequence[Point], done: Callable[[Point], object]) -> list[Failure]:
    """The runner of --gather: names what only lacks the analysis of its trained network."""
    why = "trained, but not analysed yet: the same command without --gather does it"
    return [Failure(point, why) for point in points if point.complete]


def write_published(folder: pathlib.Path, outcome: Outcome) -> None:
    """The table of the preset paper."""
    table = published_table(outcome.rows)
    identity = by_fields(["study", "rule", "metric"])
    write_csv(folder / "published.csv", table, identity)
    write_value(folder / "published.json", table, table, identity)
    for row in table:
        known = "" if row["published"] is None else f"published {row['published']:.4g}"
        known += "" if row["published_std"] is None else f" +- {row['published_std']:.3g}"
        ours = f"ours {row['ours']:.4g} +- {row['ours_std']:.3g}"
        print(f"{row['study']:22}{row['rule']:10}{row['metric']:24}{known:30}{ours}")
    for deviations in (1, 2):
        inside, cells = within(table, deviations)
        print(f"within {deviations} published standard deviations: {inside} of {cells} cells")


def write_verdicts(folder: pathlib.Path, outcome: Outcome) -> None:
    """The verdicts of the presets that test claims, beside those of an earlier campaign."""
    verdicts = decide_claims(outcome.rows, CLAIMS[PRESET.value](), outcome.lost)
    verdicts = campaigns.side_by_side(verdicts, _earlier())
    write_csv(folder / "results.csv", outcome.rows, IDENTITY)
    write_value(folder / "verdicts.json", verdicts, verdicts, _decided)
    for claim in verdicts:
        before = f" (before: {claim['before']['verdict']})" if claim["before"] else ""
        print(f"{claim['verdict']:16}{claim['claim']} ({claim['source']}){before}")
        print(f"{'':16}{claim['because']}")


def _decided(claim: Row) -> str | None:
    """The name of a claim that has a verdict."""
    return None if claim["verdict"] == NO_EVIDENCE else claim["name"]


@functools.cache
def _earlier() -> dict[str, Row]:
    return campaigns.earlier_verdicts(path_of("before", BEFORE.value)) if BEFORE.value else {}


def say_power(folder: pathlib.Path, points: Sequence[Point]) -> None:
    """Writes and prints what the seeds to come can see."""
    counts = [(p.folder.name, p.chosen, p.config().train.num_seeds) for p in points]
    plan = campaigns.power_plan(CLAIMS[PRESET.value](), _earlier(), campaigns.paired_seeds(counts))
    folder.mkdir(parents=True, exist_ok=True)
    write_value(
        folder / "power.json", plan, plan, by_fields(["name", "study", "where", "claimed", "other"])
    )
    print(*map(campaigns.power_told, plan), sep="\n", end="\n" if plan else "")


TABLES = {"paper": write_published} | dict.fromkeys(CLAIMS, write_verdicts)


if __name__ == "__main__":
    cli.run(main)
