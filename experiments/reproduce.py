r"""The paper's tables as published, or its questions asked properly: one command each.

python -m experiments.reproduce --preset=paper --workdir=DIR
python -m experiments.reproduce --preset=full --workdir=DIR [--tasks=copying,regression] \
    [--budget=smoke|standard] [--features=omniglot:FILE.npz,cifar_fs:FILE.npz]

The studies stand in `configs/studies.py`, the claims in `configs/claims.py`. Every run has a folder
DIR/STUDY/POINT. Started again, the command finishes what is unfinished, repeats nothing, and comes
to the same tables. DIR then holds

  results.json      one row per run and seed, which runs failed, commands and versions
  published.json    preset paper: published beside ours; also as CSV
  verdicts.json     preset full: the claims, and results.csv
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

from configs.claims import CLAIMS
from configs.studies import BUDGETS, PRESETS, Study
from experiments import cli
from experiments.analysis import analysis_of
from experiments.compare import judge_claims, published_table, within
from experiments.evaluate import evaluated_elsewhere
from experiments.points import InterruptedRunError, Point, run_all, say_failed
from experiments.tables import Row, seed_rows, write_csv
from experiments.validate import ConfigError
from experiments.workdir import Workdir, describe_launch, write_json
from plasticity.data import DATASETS, DataError, load

PRESET = flags.DEFINE_enum("preset", None, list(PRESETS), "as published, or in full")
WORKDIR = flags.DEFINE_string("workdir", None, "folder of all runs; made if it is not there")
TASKS = flags.DEFINE_list("tasks", [], "only these; default: all")
BUDGET = flags.DEFINE_enum("budget", "standard", list(BUDGETS), "how much training")
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


def points_of(
    folder: pathlib.Path, name: str, study: Study, settings: Mapping[str, Any]
) -> list[Point]:
    """The runs of a study, under settings that all of them share."""
    file, _, given = study.config.partition(":")
    fixed = dict(study.fixed) | dict(settings)
    return [Point(file, given, chosen, fixed, folder / name) for chosen in study.points]


def rows_of(name: str, study: Study, point: Point, fields: list[str]) -> list[Row]:
    """A finished run, and what its nets do elsewhere: a row per seed."""
    rows = []
    workdir = Workdir(str(point.workdir))
    results: list[tuple[Mapping[str, Any], dict]] = [({}, point.result())]
    for overrides in study.elsewhere:
        results.append((overrides, evaluated_elsewhere(workdir, overrides)))
    for overrides, result in results:
        config = point.config()
        config.update_from_flattened_dict(overrides)
        labels = {"study": name, "task": study.task}
        labels |= {field: value for field in fields if (value := config_field(config, field)) != ()}
        rows += seed_rows(result, labels)
    if study.analysed and point.config().rule.name != "none":
        # The first rows are those of the nets as they were trained.
        for row, record in zip(rows, analysis_of(workdir)["seeds"], strict=False):
            row |= record["metrics"]
    return rows


def config_field(config: Any, field: str) -> Any:
    """The value of a dotted field; () if the config has no such field."""
    for part in field.split("."):
        if part not in config:
            return ()
        config = config[part]
    return config


def main() -> int:
    """Runs what can be run, and writes the tables."""
    cli.require(preset=PRESET.value, workdir=WORKDIR.value)
    features = features_given(FEATURES.value)
    studies = chosen_studies(PRESETS[PRESET.value](), TASKS.value)
    skipped = {name: why for name, s in studies.items() if (why := missing(s, features))}
    for name, why in skipped.items():
        print(f"skipped: {name}: {why}", flush=True)
    settings = {
        name: BUDGETS[BUDGET.value][PRESET.value]
        | ({"task.features": features[study.dataset]} if study.frozen else {})
        for name, study in studies.items()
        if name not in skipped
    }
    about = {"preset": PRESET.value, "budget": BUDGET.value, "skipped": skipped}
    return run(pathlib.Path(WORKDIR.value), studies, settings, about)


def run(
    folder: pathlib.Path,
    studies: Mapping[str, Study],
    settings: Mapping[str, Mapping[str, Any]],
    about: Mapping[str, Any],
) -> int:
    """Runs the points of studies in turn; results are written after each of them.

    Args:
      folder: of everything.
      studies: by name. settings: {study to run: fields that all its runs share}.
      about: stands in results.json; `preset` says which tables are written.
    """
    fields = sorted({f for s in studies.values() for p in (*s.points, *s.elsewhere) for f in p})
    runs = [
        p for name, own in settings.items() for p in points_of(folder, name, studies[name], own)
    ]
    failed: list[Point] = []
    rows: list[Row] = []
    try:
        for point in run_all(runs, failed):
            name = point.folder.name
            rows += rows_of(name, studies[name], point, fields)
            names = [f"{other.folder.name}/{other.name}" for other in failed]
            report = {"rows": rows, "failed": names, "launch": describe_launch()}
            write_json(folder / "results.json", dict(about) | report)
    except InterruptedRunError as stop:
        return stop.code
    TABLES[about["preset"]](folder, rows)
    return say_failed(failed)


def write_published(folder: pathlib.Path, rows: list[Row]) -> None:
    """The table of the preset paper."""
    table = published_table(rows)
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


def write_verdicts(folder: pathlib.Path, rows: list[Row]) -> None:
    """The claims, judged."""
    verdicts = judge_claims(rows, CLAIMS)
    write_csv(folder / "results.csv", rows)
    write_json(folder / "verdicts.json", verdicts)
    for claim in verdicts:
        print(f"{claim['verdict']:16}{claim['claim']} ({claim['source']})")


TABLES = {"paper": write_published, "full": write_verdicts}


if __name__ == "__main__":
    cli.run(main)
