"""Studies, run to the end, and their results as rows."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from configs.studies import Study
from experiments.analysis import analysis_of
from experiments.evaluate import evaluated_elsewhere
from experiments.points import Point, run_all
from experiments.storage import write_json
from experiments.tables import Row, seed_rows
from experiments.workdir import Workdir, describe_launch

# (points, what to do with each that is complete) -> those that failed
Runner = Callable[[Sequence[Point], Callable[[Point], None]], list[Point]]


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


class Campaign(NamedTuple):
    """Points of several studies. The folder of a point is named after its study."""

    folder: pathlib.Path
    studies: Mapping[str, Study]
    points: Sequence[Point]

    def rows(self, point: Point) -> list[Row]:
        """The rows of a finished point; evaluates and analyses what its study asks for."""
        studies = self.studies.values()
        fields = sorted({f for s in studies for p in (*s.points, *s.elsewhere) for f in p})
        name = point.folder.name
        return rows_of(name, self.studies[name], point, fields)

    def run(self, runner: Runner, about: Mapping[str, Any]) -> tuple[list[Row], list[Point]]:
        """Runs what is not complete, and writes results.json whenever something is.

        Args:
          runner: how points are run.
          about: what else results.json tells.

        Returns:
          All rows, in the order of the points, and the points that failed.
        """
        rows: dict[pathlib.Path, list[Row]] = {}
        launch = describe_launch()

        def done(point: Point) -> None:
            rows[point.workdir] = self.rows(point)
            self._write(rows, {"launch": launch} | dict(about))

        for point in self.points:
            if point.complete:
                done(point)
        failed = runner([p for p in self.points if p.workdir not in rows], done)
        names = [str(point.workdir.relative_to(self.folder)) for point in failed]
        return self._write(rows, {"launch": launch, "failed": names} | dict(about)), failed

    def _write(self, rows: Mapping[pathlib.Path, list[Row]], about: Mapping[str, Any]) -> list[Row]:
        ordered = [row for p in self.points for row in rows.get(p.workdir, [])]
        write_json(self.folder / "results.json", dict(about) | {"rows": ordered})
        return ordered


def run_here(points: Sequence[Point], done: Callable[[Point], None]) -> list[Point]:
    """A runner: one point after the other, in this process, on all devices."""
    failed: list[Point] = []
    for point in run_all(points, failed):
        done(point)
    return failed
