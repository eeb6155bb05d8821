"""Runs studies to the end, and gathers their results as rows."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from plasticity.configs.studies import Study
from plasticity.experiments.probing.analysis import ANALYSIS, analysis_of
from plasticity.experiments.probing.time_scales import time_scales_of
from plasticity.experiments.run.checked import check, read
from plasticity.experiments.run.evaluate import evaluated_elsewhere
from plasticity.experiments.run.manifest import describe_launch
from plasticity.experiments.run.result import seeds_of
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.sweeps.known import Known
from plasticity.experiments.sweeps.points import Failure, Point, by_state, failure
from plasticity.experiments.sweeps.replace import by_fields, set_aside, write_value
from plasticity.experiments.sweeps.tables import Row, seed_rows

RESULTS = "results.json"
IDENTITY = by_fields(["study", "task", "seed"], ["point"])  # of a row; a probe has no point
# (points, function to call with each that is complete) -> failures
Runner = Callable[[Sequence[Point], Callable[[Point], object]], list[Failure]]


def stored_results(folder: pathlib.Path) -> dict[str, Any]:
    """results.json of a campaign; empty if there is none yet.

    Raises:
      DamagedFileError: it is not what a campaign writes.
    """
    path = folder / RESULTS
    results = read(path, {"rows": list}) if path.exists() else {}
    check(path, results.get("features", {}), {str: str}, "features")  # older ones have none
    check(path, results.get("lost", []), list, "lost")
    return results


def points_of(
    folder: pathlib.Path, name: str, study: Study, settings: Mapping[str, Any]
) -> list[Point]:
    """The runs of a study, with `settings` in all of them."""
    file, _, given = study.config.partition(":")

    def fixed(chosen: Mapping[str, Any]) -> dict[str, Any]:
        """A point may choose what the study sets for the others; the budget holds for all."""
        return {f: v for f, v in study.fixed.items() if f not in chosen} | dict(settings)

    return [Point(file, given, chosen, fixed(chosen), folder / name) for chosen in study.points]


def config_field(config: Any, field: str) -> Any:
    """The value of a dotted field; () if the config has no such field."""
    for part in field.split("."):
        if part not in config:
            return ()
        config = config[part]
    return config


class Outcome(NamedTuple):
    """The results of a campaign.

    rows: of all complete points, in their order, and of untrained memories. failed: points without
    a result, or whose files are damaged. lost: a row per seed, without metrics, of points that
    could not be trained, now or by an earlier launch.
    """

    rows: list[Row]
    failed: list[Failure]
    lost: list[Row]


class Campaign:
    """Points of several studies. The folder of a point has the name of its study.

    Args:
      folder: of all studies. studies: by name. points: of all studies.
      wanted: names of the studies to run; of the others, complete points are gathered.
      known: rows of points that were run elsewhere, which need not be run here.

    Attributes:
      asked: the points of the studies to run, complete or not. known: those of all points of which
        there are known rows.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        studies: Mapping[str, Study],
        points: Sequence[Point],
        wanted: Collection[str],
        known: Known | None = None,
    ):
        self.folder, self.points, self._studies = folder, points, studies
        self._known = known or {}
        self.asked = [point for point in points if point.folder.name in wanted]
        varied = {f for s in studies.values() for p in (*s.points, *s.elsewhere) for f in p}
        self._fields = sorted(varied)
        self.known = [point for point in points if self._key(point) in self._known]
        self._rows: dict[pathlib.Path, list[Row]] = {}
        self._lost: dict[pathlib.Path, list[Row]] = {}  # of points that could not be trained
        self._broken: list[Failure] = []
        self._measured: Sequence[Row] = ()

    def gather(self, point: Point) -> None:
        """Gathers the rows of a complete point; evaluates and analyses it where the study does.

        An error there becomes a failure of the point, and the other points go on.
        """
        try:
            self._rows[point.workdir] = self._rows_of(point)
        except Exception as error:
            self._broken.append(failure(point, error))

    def run(
        self, runner: Runner, about: Mapping[str, Any], measured: Sequence[Row] = ()
    ) -> Outcome:
        """Runs what is not complete; writes results.json after every point.

        Args:
          runner: how points are run.
          about: further fields of results.json.
          measured: further rows, of untrained memories.
        """
        self._measured = measured
        launch = {"launch": describe_launch()} | dict(about)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._remember(stored_results(self.folder).get("lost", []))
        except DamagedFileError:
            set_aside(self.folder / RESULTS)

        def done(point: Point) -> None:
            self.gather(point)
            self._write(launch)

        complete, unfinished, failed = by_state(self.points)
        elsewhere = [point for point in unfinished if self._take(point)]
        if elsewhere:
            print(f"{len(elsewhere)} points were run elsewhere: --known has their rows")
        unfinished = [p for p in unfinished if p in self.asked and p not in elsewhere]
        for point in complete:
            if point in self.asked and self._lacks_analysis(point):
                unfinished.append(point)  # an analysis takes long: workers make it
            else:
                self.gather(point)
        failed += runner(unfinished, done)
        self._lost |= {p.workdir: self._seeds_of(p) for p, _, untrainable in failed if untrainable}
        failed += self._broken
        names = {str(one.point.workdir.relative_to(self.folder)): one.why for one in failed}
        rows = self._write(launch | {"failed": names})
        return Outcome(rows, failed, self._lost_rows())

    def _take(self, point: Point) -> bool:
        """Whether the rows of a point are known: as many as its study has now.

        The text of a cell does not tell 1 from "1", nor an empty one from none: the fields of a
        config come from the point.
        """
        rows = self._known.get(self._key(point), ())
        labels = [
            (label, ("seed", *overrides))
            for overrides in ({}, *self._study(point).elsewhere)
            for label in self._seeds_of(point, overrides)
        ]
        if len(rows) != len(labels):
            return False
        # The evaluations may have been others, or in another order.
        for row, (label, fields) in zip(rows, labels, strict=True):
            if any(str(row.get(field, "")) != str(label[field]) for field in fields):
                return False
        self._rows[point.workdir] = [row | own for row, (own, _) in zip(rows, labels, strict=True)]
        return True

    def _remember(self, lost: Sequence[Row]) -> None:
        """Takes over what an earlier launch could not train, as far as it has no result yet."""
        known = {(row.get("study"), row.get("point")) for row in lost}
        for point in self.points:
            if self._key(point) in known:
                self._lost[point.workdir] = self._seeds_of(point)

    def _rows_of(self, point: Point) -> list[Row]:
        """A complete run, and its evaluations on other episodes: a row per seed of each."""
        study, workdir, result = self._study(point), Workdir(str(point.workdir)), point.result()
        rows = seed_rows(result["seeds"], self._labels(point))
        if self._is_analysed(point):
            for row, record in zip(rows, analysis_of(workdir)["seeds"], strict=False):
                row |= record["metrics"]
        if study.time_scales:
            for row, scales in zip(rows, time_scales_of(workdir), strict=True):
                row |= scales
        for overrides in study.elsewhere:
            record = {"seed": result["seed"]} | evaluated_elsewhere(workdir, overrides)
            seeds = seeds_of(point.workdir, record, result["main_metric"])
            rows += seed_rows(seeds, self._labels(point, overrides))
        return rows

    def _study(self, point: Point) -> Study:
        return self._studies[point.folder.name]

    def _labels(self, point: Point, overrides: Mapping[str, Any] | None = None) -> Row:
        """The study, the task, and those of the varied fields that the config has."""
        config: ConfigDict = point.config()
        config.update_from_flattened_dict(overrides or {})
        fields = {f: value for f in self._fields if (value := config_field(config, f)) != ()}
        own = {"study": point.folder.name, "task": self._study(point).task}
        own["point"] = self._hash(point)
        return own | {"train_episodes": config.train.steps * config.train.batch} | fields

    def _key(self, point: Point) -> tuple[str, str]:
        return point.folder.name, self._hash(point)

    def _hash(self, point: Point) -> str:
        """That of the point; features count by their data set, wherever their file lies."""
        study = self._study(point)
        if not study.frozen:
            return point.identity
        fixed = dict(point.fixed) | {"task.features": study.dataset}
        return dataclasses.replace(point, fixed=fixed).identity

    def _is_analysed(self, point: Point) -> bool:
        """Whether the study analyses the net of the point, which must be plastic."""
        return self._study(point).analysed and point.config().rule.name != "none"

    def _lacks_analysis(self, point: Point) -> bool:
        return self._is_analysed(point) and not (point.workdir / ANALYSIS).exists()

    def _seeds_of(self, point: Point, overrides: Mapping[str, Any] | None = None) -> list[Row]:
        """A row for each seed of a point, without metrics."""
        config, labels = point.config(), self._labels(point, overrides)
        seeds = range(config.seed, config.seed + config.train.num_seeds)
        return [labels | {"seed": seed} for seed in seeds]

    def _lost_rows(self) -> list[Row]:
        names = [point.workdir for point in self.points]
        return [row for n in names if n not in self._rows for row in self._lost.get(n, ())]

    def _write(self, about: Mapping[str, Any]) -> list[Row]:
        ordered = [row for p in self.points for row in self._rows.get(p.workdir, [])]
        ordered += self._measured
        results = dict(about) | {"rows": ordered, "lost": self._lost_rows()}
        write_value(self.folder / RESULTS, results, ordered, IDENTITY)
        return ordered
