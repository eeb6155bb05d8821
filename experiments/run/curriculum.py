"""The curriculum of a run: the value of the growing setting at every update.

Either stages share a part of `train.steps`, or the network earns them (`curriculum.until`): the
next stage begins once every metric of every seed, as a mean over the last `window` updates, has
reached `until`. Updates count from 0. Update s is under way while the metrics of update s - 1 are
looked at, so a stage that these earn begins with update s + 1, wherever the run was interrupted.
"""

import bisect
import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from plasticity.configs.training import CurriculumSettings
from plasticity.experiments import build
from plasticity.experiments.run.checked import check, is_number
from plasticity.experiments.run.storage import DamagedFileError

RECORD = {"first": [int], "passed": [int], "recent": [list]}


class Curriculum:
    """The stages of a run, and in a curriculum that is earned, what they rest on.

    Args:
      settings: of the config.
      steps: of the run.
      own: the task's own value of the growing setting, that of the last stage.
      metric: the headline metric of the task.

    Attributes:
      values: of the setting, by stage.
    """

    def __init__(self, settings: CurriculumSettings, steps: int, own: int | None, metric: str):
        self._settings, self._steps = settings, steps
        self._metrics = settings.names or [metric]
        stages: list[int | None] = list(settings.parsed)
        self.values = stages if own in stages[-1:] else [*stages, own]
        self._first = [0]  # update of each stage that has begun
        self._passed: list[int] = []  # updates after which a stage had reached `until`
        self._recent: list[list[float]] = []  # metrics of all seeds in the last updates
        if not settings.until:
            self._first = settings.starts(steps, own)

    def stage(self, update: int) -> int:
        """The index of the stage that an update belongs to, as far as is known."""
        return bisect.bisect_right(self._first, update) - 1

    def value(self, update: int) -> int | None:
        """The value of the growing setting in an update; None: there is no curriculum."""
        return self.values[self.stage(update)]

    @classmethod
    def of(cls, config: ConfigDict, metric: str) -> "Curriculum":
        """That of a config whose task has this headline metric."""
        settings = build.read(config, CurriculumSettings)
        own = config.task[settings.field] if settings.field else None
        return cls(settings, config.train.steps, own, metric)

    def see(self, update: int, seeds: Sequence[Mapping[str, float]]) -> bool:
        """Takes the metrics of each seed in an update. Whether they end the stage.

        A seed whose metrics are not finite has diverged, and is not waited for.
        """
        until, newest = self._settings.until, len(self._first) - 1
        if not until or self.stage(update) < newest or len(self._passed) == len(self.values):
            return False
        found = [own[name] for own in seeds for name in self._metrics]
        self._recent.append([value if math.isfinite(value) else until for value in found])
        window = self._settings.window
        self._recent = self._recent[-window:]
        # Sums, and not means: fsum([until] * window) is until * window, rounded in the same way.
        sums = [math.fsum(column) for column in zip(*self._recent, strict=True)]
        if len(self._recent) < window or min(sums) < until * window:
            return False
        self._passed.append(update + 1)
        self._recent = []
        if newest + 1 < len(self.values):
            self._first.append(update + 2)
        return True

    def in_words(self, update: int) -> str:
        """What an update trains with, for people."""
        value = f"curriculum: task.{self._settings.field} is {self.value(update)}"
        after = self.stage(update) + 1
        if self._settings.until:
            names = " and ".join(self._metrics)
            end = f", until {names} >= {self._settings.until:g}"
        else:
            end = f" until step {self._first[after]}" if after < len(self._first) else ""
        return f"{value}{end}"

    def record(self) -> dict[str, Any]:
        """What a checkpoint keeps, and `resume` takes; empty if stages are not earned."""
        if not self._settings.until:
            return {}
        names = ("first", "passed", "recent")
        # Copies: a checkpoint is written while the run goes on, and `see` adds to these lists.
        return {"curriculum": {name: copy.deepcopy(getattr(self, f"_{name}")) for name in names}}

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Goes on from the record of a checkpoint, if there is one.

        Raises:
          DamagedFileError: it is not what `record` returns.
        """
        if not self._settings.until or "curriculum" not in saved:
            return
        record = saved["curriculum"]
        check("the curriculum of a checkpoint", record, RECORD)
        if not record["first"] or not all(is_number(v) for row in record["recent"] for v in row):
            raise DamagedFileError(f"the curriculum of a checkpoint holds {record}")
        self._first, self._passed = record["first"], record["passed"]
        self._recent = record["recent"]

    def reached(self) -> dict[str, int | None]:
        """For the record of a seed: the last value that was passed; 0: none was."""
        if not self._settings.until:
            return {}
        return {"curriculum_reached": self.values[len(self._passed) - 1] if self._passed else 0}

    def outcome(self) -> dict[str, Any]:
        """For result.json: each stage that began, its first update, and when it was passed."""
        if not self._settings.until:
            return {}
        passed = [*self._passed, *[None] * len(self._first)]
        stages = zip(self.values, self._first, passed, strict=False)
        begun = [
            {"value": value, "first_update": first, "passed_after": after}
            for value, first, after in stages
            if first < self._steps
        ]
        return {"curriculum": begun}
