"""The trackers of a run: each goes on with the same run, and none of them ends it."""

import sys
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ml_collections import ConfigDict

from plasticity.configs.training import LogSettings
from plasticity.experiments import build
from plasticity.experiments.run import hosts
from plasticity.experiments.run.checked import read
from plasticity.experiments.run.metrics import MetricsLog
from plasticity.experiments.run.storage import is_there, write_json
from plasticity.experiments.run.workdir import IDENTITY, Workdir
from plasticity.experiments.trackers import TRACKERS, missing
from plasticity.experiments.trackers.tracker import Launch, Row, Tracker
from plasticity.experiments.validate import ConfigError


def check_trackers(config: ConfigDict) -> None:
    """Raises ConfigError if a tracker of the config is not installed."""
    if problem := missing(build.read(config, LogSettings).names):
        raise ConfigError(f"log.trackers={config.log.trackers!r} {problem}")


def write_identity(workdir: Workdir, config: ConfigDict, group: str) -> None:
    """Decides once, in trackers.json, by what the trackers know the run.

    `group`: the name of the sweep that the run belongs to; "": none.
    """
    if config.log.trackers and not is_there(workdir.trackers):
        write_json(workdir.trackers, {"id": uuid.uuid4().hex[:12], "group": group})


def open_log(
    config: ConfigDict, workdir: Workdir, seeds: Sequence[int], first_step: int
) -> MetricsLog:
    """The log of a launch that goes on after `first_step` updates; only process 0 keeps one."""
    if not hosts.primary():
        return MetricsLog(None, first_step, seeds)
    log, settings = MetricsLog(workdir.metrics, first_step, seeds), build.read(config, LogSettings)
    if settings.names:
        own, given = read(workdir.trackers, IDENTITY), config.to_dict()
        known = (workdir.path, own["id"], own["group"], settings.project, given, first_step)
        log.attach([Guarded(name, Launch(*known), log.told) for name in settings.names])
    return log


class Guarded:
    """A tracker by name. Once it has failed, which is said on stderr, it is left alone.

    It gets no row of `told`, unless it has dropped those rows itself.
    """

    def __init__(self, name: str, launch: Launch, told: Collection[tuple[int, str]]):
        kind = TRACKERS[name]
        self._name = name
        self._told = [row for row in told if row[0] <= launch.first_step] if kind.rewinds else told
        self._tracker: Tracker | None = self._tried(lambda: kind.open(launch))

    def log(self, rows: Sequence[Row]) -> None:
        """As `Tracker`."""
        new = [row for row in rows if (row.step, row.split) not in self._told]
        self._tried(lambda: self._tracker and new and self._tracker.log(new))

    def flush(self) -> None:
        """As `Tracker`."""
        self._tried(lambda: self._tracker and self._tracker.flush())

    def close(self, complete: bool) -> None:
        """As `Tracker`."""
        self._tried(lambda: self._tracker and self._tracker.close(complete))

    def _tried(self, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Exception as error:  # of any kind, by another project's code
            self._tracker = None
            what = " ".join(str(error).split())[:300]
            print(
                f"warning: log.trackers: {self._name} failed ({type(error).__name__}: {what}) and "
                "gets nothing more in this launch; metrics.jsonl has all rows, and the run goes on",
                file=sys.stderr,
                flush=True,
            )
            return None
