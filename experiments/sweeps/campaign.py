"""Studies, run to the end, and their results as rows."""

import pathlib
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from configs.studies import Study
from experiments.analysis import ANALYSIS, analysis_of
from experiments.run.evaluate import evaluated_elsewhere
from experiments.run.manifest import describe_launch
from experiments.run.storage import write_json
from experiments.run.workdir import Workdir
from experiments.sweeps.points import Point, run_all
from experiments.sweeps.tables import Row, seed_rows

# (points, what to do with each that is complete) -> those that failed
Runner = Callable[[Sequence[Point], Callable[[Point], None]], list[Point]]


def points_of(
    folder: pathlib.Path, name: str, study: Study, settings: Mapping[str, Any]
) -> list[Point]:
    """The runs of a study, under settings that all of them share."""
    file, _, given = study.config.partition(":")
    fixed = dict(study.fixed) | dict(settings)
    return [Point(file, given, chosen, fixed, folder / name) for chosen in study.points]


def rows_of(name: str, study: Study, point: Point, fields: Sequence[str]) -> list[Row]:
    """A finished run, and what its nets do elsewhere: a row per seed."""
    rows = []
    workdir = Workdir(str(point.workdir))
    results: list[tuple[Mapping[str, Any], dict]] = [({}, point.result())]
    for overrides in study.elsewhere:
        results.append((overrides, evaluated_elsewhere(workdir, overrides)))
    for overrides, result in results:
        config = point.config()
        config.update_from_flattened_dict(overrides)
        rows += seed_rows(result, labels_of(name, study, config, fields))
    if is_analysed(study, point):
        # The first rows are those of the nets as they were trained.
        for row, record in zip(rows, analysis_of(workdir)["seeds"], strict=False):
            row |= record["metrics"]
    return rows


def is_analysed(study: Study, point: Point) -> bool:
    """Whether the study asks for an analysis of the point: its nets must be plastic."""
    return study.analysed and point.config().rule.name != "none"


def labels_of(name: str, study: Study, config: ConfigDict, fields: Sequence[str]) -> Row:
    """What sets the rows of a config apart: its study, and those of the fields that it has."""
    labels = {"study": name, "task": study.task}
    return labels | {f: value for f in fields if (value := config_field(config, f)) != ()}


def config_field(config: Any, field: str) -> Any:
    """The value of a dotted field; () if the config has no such field."""
    for part in field.split("."):
        if part not in config:
            return ()
        config = config[part]
    return config


class Outcome(NamedTuple):
    """What a campaign came to.

    rows: of all finished points, in their order. failed: points whose run failed, or of which
    nothing can be told. lost: of the first a row per seed, without metrics.
    """

    rows: list[Row]
    failed: list[Point]
    lost: list[Row]


class Campaign:
    """Points of several studies. The folder of a point is named after its study.

    Args:
      folder: of all studies. studies: by name. points: of all of them.
      wanted: names of the studies that are to be run; of others, what is finished is told.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        studies: Mapping[str, Study],
        points: Sequence[Point],
        wanted: Collection[str],
    ):
        self.folder, self.points = folder, points
        self._studies, self._wanted = studies, wanted
        varied = {f for s in studies.values() for p in (*s.points, *s.elsewhere) for f in p}
        self._fields = sorted(varied)
        self._rows: dict[pathlib.Path, list[Row]] = {}
        self._broken: list[tuple[Point, str]] = []

    @property
    def asked(self) -> list[Point]:
        """The points that are to be run, finished or not."""
        return [point for point in self.points if point.folder.name in self._wanted]

    def tell(self, point: Point) -> None:
        """Gathers the rows of a finished point; evaluates and analyses what its study asks for.

        An error there is no reason to lose the other points: it is told, and noted.
        """
        name = point.folder.name
        try:
            self._rows[point.workdir] = rows_of(name, self._studies[name], point, self._fields)
        except Exception as error:
            traceback.print_exc()
            self._broken.append((point, f"{type(error).__name__}: {error}"))

    def run(self, runner: Runner, about: Mapping[str, Any]) -> Outcome:
        """Runs what is not complete, and writes results.json whenever something is.

        Args:
          runner: how points are run.
          about: what else results.json tells.
        """
        launch = {"launch": describe_launch()} | dict(about)

        def done(point: Point) -> None:
            self.tell(point)
            self._write(launch)

        unfinished = [point for point in self.asked if not self._settled(point)]
        for point in self.points:
            if point.complete and point not in unfinished:
                self.tell(point)
        lost = runner(unfinished, done)
        failed = [(point, "did not complete: see its log") for point in lost] + self._broken
        names = {str(point.workdir.relative_to(self.folder)): why for point, why in failed}
        rows = self._write(launch | {"failed": names})
        failures = [point for point, _ in failed]
        return Outcome(rows, failures, [row for point in lost for row in self._lost(point)])

    def _settled(self, point: Point) -> bool:
        """Whether nothing is left that takes long: an analysis is made by whoever runs points."""
        wants = is_analysed(self._studies[point.folder.name], point)
        return point.complete and (not wants or (point.workdir / ANALYSIS).exists())

    def _lost(self, point: Point) -> list[Row]:
        config, name = point.config(), point.folder.name
        labels = labels_of(name, self._studies[name], config, self._fields)
        first = config.seed
        return [labels | {"seed": first + i} for i in range(config.train.num_seeds)]

    def _write(self, about: Mapping[str, Any]) -> list[Row]:
        ordered = [row for p in self.points for row in self._rows.get(p.workdir, [])]
        write_json(self.folder / "results.json", dict(about) | {"rows": ordered})
        return ordered


def run_here(points: Sequence[Point], done: Callable[[Point], None]) -> list[Point]:
    """A runner: one point after the other, in this process, on all devices."""
    failed: list[Point] = []
    for point in run_all(points, failed):
        done(point)
    return failed
