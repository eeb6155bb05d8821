"""Finished runs as a report reads them: any file may be damaged, so each is checked."""

import json
import math
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from plasticity.experiments.build import writes_nothing
from plasticity.experiments.probing.analysis import ANALYSIS, read_analysis
from plasticity.experiments.run.checked import check, is_number, read, read_lines
from plasticity.experiments.run.intervals import mean_interval
from plasticity.experiments.run.result import PARTS, read_result, seeds_of
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.run.stored_config import comparable

Problems = list[str]  # messages on files that cannot be read; each names its file
Record = dict[str, Any]
CONFIG = {"rule": {"name": str}, "task": {"name": str}, "train": {"steps": int}}
MANIFEST = {"argv": [str]}


class Run(NamedTuple):
    """One finished run.

    config: {dotted field: value}. metric: the headline metric; chance: its chance level. seeds: the
    result of each seed. curve: the headline metric in training, (step, value), one per step and
    seed. analysis: of analysis.json, if there is one. manifests: of its launch; several, if runs
    were pooled. elsewhere: the trained network under other settings, as if it were another run.
    """

    folder: pathlib.Path
    config: Record
    metric: str
    chance: float | None
    seeds: list[Record]
    curve: list[tuple[int, float]]
    analysis: Record | None
    manifests: list[Record]
    elsewhere: list["Run"]

    @property
    def rule(self) -> str:
        """Its plasticity rule."""
        return self.config["rule.name"]

    @property
    def static(self) -> bool:
        """Whether it writes nothing, in its plastic layers or its memory layers."""
        mixer = self.config.get("model.mixer", "attention")
        levels = self.config.get("model.levels", "")
        return writes_nothing(self.rule, mixer, self.config.get("site.rule", ""), levels)

    @property
    def switched(self) -> tuple[bool, ...]:
        """Plasticity on and off; a static network has nothing to switch off."""
        return (True,) if self.static else (True, False)

    @property
    def diverged(self) -> list[bool]:
        """Of each seed: whether its training diverged, or exploded with every number finite."""
        return [bool({"diverged_after", "exploded_after"} & seed.keys()) for seed in self.seeds]

    @property
    def episodes(self) -> int:
        """The test episodes of each seed."""
        return self._of_seeds("n", True, self.metric)[0]

    def values(self, on: bool = True, metric: str = "") -> list[float]:
        """A metric, by default the headline one, of each seed; nan where it is not finite."""
        return self._of_seeds("mean", on, metric or self.metric)

    def interval(self, on: bool = True, metric: str = "") -> tuple[float, float]:
        """Mean and half interval over seeds; over the test episodes if there is one seed."""
        values = self.values(on, metric)
        if len(values) > 1:
            return mean_interval(values)
        return values[0], self._of_seeds("ci95", on, metric or self.metric)[0]

    def _of_seeds(self, field: str, on: bool, metric: str) -> list[Any]:
        part = PARTS["" if on else "_off"]
        values = [seed[part].get(metric, {}).get(field) for seed in self.seeds]
        return [value if is_number(value) else math.nan for value in values]


def optional(problems: Problems, reader: Callable, path: pathlib.Path, *args: Any) -> Any:
    """`reader(path, *args)`, or None, with a message in `problems`, if the file is damaged."""
    try:
        return reader(path, *args)
    except DamagedFileError as error:
        problems.append(str(error))
        return None


def read_run(folder: pathlib.Path, names: Collection[str], problems: Problems) -> Run:
    """The run in a folder that holds files of these names.

    If its curve, analysis, manifest or an evaluation is damaged, the run stands without it.

    Raises:
      DamagedFileError: config.json or result.json is damaged.
    """

    def part(name: str, reader: Callable, *args: Any) -> Any:
        return optional(problems, reader, folder / name, *args) if name in names else None

    config = flat(comparable(read(folder / "config.json", CONFIG)))
    result = read_result(folder / "result.json", config["train.steps"])
    metric, steps, chance = result["main_metric"], result["steps"], result.get("chance")
    manifest = part("manifest.json", read, MANIFEST)
    run = Run(
        folder=folder,
        config=config,
        metric=metric,
        chance=chance if is_number(chance) else None,
        seeds=result["seeds"],
        curve=part("metrics.jsonl", _curve, metric) or [],
        analysis=part(ANALYSIS, read_analysis, steps),
        manifests=[manifest] if manifest and manifest["argv"] else [],
        elsewhere=[],
    )
    # Of several evaluations under the same settings, the last one counts: -2 follows none, -10 -9.
    others = {}
    found = [n for n in names if n.startswith("evaluation-") and n.endswith(".json")]
    for name in sorted(found, key=lambda name: (len(name), name)):
        if other := part(name, _evaluation, run, steps, result["seed"]):
            others[json.dumps(other.config, sort_keys=True)] = other
    return run._replace(elsewhere=list(others.values()))


def _curve(path: pathlib.Path, metric: str) -> list[tuple[int, float]]:
    """The metric in training, where it was finite."""
    rows = read_lines(path, {"step": int, "split": str})
    if not rows:
        raise DamagedFileError(f"{path} is empty")
    train = [(row["step"], row.get(metric)) for row in rows if row["split"] == "train"]
    return [(step, value) for step, value in train if is_number(value)]


def _evaluation(path: pathlib.Path, run: Run, steps: int, seed: int) -> Run | None:
    """The final network under other settings; None if it is of another step or of the same."""
    record = {"seed": seed} | read(path, {"step": int, "changed": dict})
    if not record["changed"] or record["step"] != steps:
        return None
    config = run.config | record["changed"]
    check(path, config, {"rule.name": str, "task.name": str})
    seeds = seeds_of(path, record, run.metric)
    return run._replace(config=config, seeds=seeds, curve=[], analysis=None, manifests=[])


def flat(config: Mapping[str, Any], prefix: str = "") -> Record:
    """{dotted field: value} of nested dicts."""
    found: Record = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found
