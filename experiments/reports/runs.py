"""Finished runs as a report reads them: every file is checked, for any of them may be damaged.

What is returned holds values of the right type alone, so that no figure or table checks again.
"""

import contextlib
import json
import math
import pathlib
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.run.intervals import mean_interval
from experiments.run.storage import DamagedFileError, read_json
from plasticity.rules import RULES

Problems = list[str]  # messages on files that cannot be read; each names its file
LARGEST = 1e100  # of a number: its square, too, is finite


class Score(NamedTuple):
    """The headline metric of one seed: the mean of n test episodes, and half its 95 % interval."""

    mean: float
    half: float
    n: int


class SeedResult(NamedTuple):
    """The result of one seed with plasticity on and off, and whether its training diverged."""

    seed: int
    on: Score
    off: Score
    diverged: bool


class Analysis(NamedTuple):
    """analysis.json.

    traces: {(kind, layer): [seeds, T]}; kind is "rates" or "sizes", or one of them with the prefix
    "untrained.". metrics: of each seed, those that are finite.
    """

    events: list[str]
    traces: dict[tuple[str, str], np.ndarray]
    metrics: list[dict[str, float]]


class Run(NamedTuple):
    """One finished run.

    config: {dotted field: value}. metric: the headline metric; chance: its chance level.
    curve: its values in training, (step, value), one per step and seed. manifests: of its launch;
    several, if runs were pooled. elsewhere: the trained net under other settings, as if it were a
    run with that config.
    """

    folder: pathlib.Path
    config: dict[str, Any]
    metric: str
    chance: float | None
    seeds: list[SeedResult]
    curve: list[tuple[int, float]]
    analysis: Analysis | None
    manifests: list[dict[str, Any]]
    elsewhere: list["Run"]

    @property
    def rule(self) -> str:
        """Its plasticity rule."""
        return self.config["rule.name"]

    @property
    def static(self) -> bool:
        """Whether its rule writes nothing."""
        return self.rule in RULES and RULES[self.rule]().static

    def values(self, on: bool = True) -> list[float]:
        """The headline metric of each seed."""
        return [(seed.on if on else seed.off).mean for seed in self.seeds]

    def interval(self, on: bool = True) -> tuple[float, float]:
        """Mean and half interval over seeds; over the test episodes if there is one seed."""
        if len(self.seeds) > 1:
            return mean_interval(self.values(on))
        score = self.seeds[0].on if on else self.seeds[0].off
        return score.mean, score.half


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def get(record: Any, field: str, kind: type) -> Any:
    """The value of a dotted field of a JSON value; `float` stands for any finite number.

    Raises:
      ValueError: there is no such field, or its value is of another type.
    """
    value = record
    for name in field.split("."):
        if not isinstance(value, dict) or name not in value:
            raise ValueError(f"there is no field {field!r}")
        value = value[name]
    if not (is_number(value) if kind is float else isinstance(value, kind)):
        wanted = {float: "a finite number", int: "an integer", str: "a string"}.get(kind)
        wanted = wanted or {list: "an array", dict: "an object"}[kind]
        raise ValueError(f"{field}={reprlib.repr(value)} must be {wanted}")
    return value


@contextlib.contextmanager
def checked(path: pathlib.Path) -> Iterator[None]:
    """Errors in reading a file, or in what it holds, become a DamagedFileError that names it."""
    try:
        yield
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedFileError(f"{path} cannot be read: {error}") from error


def optional(problems: Problems, read: Callable, path: pathlib.Path, *args: Any) -> Any:
    """`read(path, *args)`, or None, with a message in `problems`, if the file is damaged."""
    try:
        return read(path, *args)
    except DamagedFileError as error:
        problems.append(str(error))
        return None


def read_run(folder: pathlib.Path, names: Collection[str], problems: Problems) -> Run:
    """The run in a folder that holds files of these names.

    A run stands without its curve, analysis, manifest or an evaluation if that file is damaged.

    Raises:
      DamagedFileError: config.json or result.json is.
    """
    path = folder / "config.json"
    config = read_json(path, {})
    with checked(path):
        config = _checked_config(flat(config))
    path = folder / "result.json"
    result = read_json(path, {"main_metric": str, "steps": int})
    metric, steps = result["main_metric"], result["steps"]
    with checked(path):
        chance = None if result.get("chance") is None else get(result, "chance", float)
        seeds = _seeds(result, metric)

    def part(name: str, read: Callable, *args: Any) -> Any:
        return optional(problems, read, folder / name, *args) if name in names else None

    manifest = part("manifest.json", read_manifest)
    run = Run(
        folder=folder,
        config=config,
        metric=metric,
        chance=chance,
        seeds=seeds,
        curve=part("metrics.jsonl", _curve, metric) or [],
        analysis=part("analysis.json", _analysis, steps),
        manifests=[manifest] if manifest else [],
        elsewhere=[],
    )
    evaluations = sorted(n for n in names if n.startswith("evaluation-") and n.endswith(".json"))
    # Of several evaluations under the same settings, the last one counts.
    others = {}
    for name in evaluations:
        if other := part(name, _evaluation, run, steps):
            others[json.dumps(other.config, sort_keys=True)] = other
    return run._replace(elsewhere=list(others.values()))


def _checked_config(config: dict[str, Any]) -> dict[str, Any]:
    for field in ("rule.name", "task.name"):
        if not isinstance(config.get(field), str):
            raise ValueError(f"{field}={reprlib.repr(config.get(field))} must be a string")
    return config


def _seeds(record: dict[str, Any], metric: str) -> list[SeedResult]:
    """The seeds of a result or an evaluation, which itself is the record of an only seed."""
    records = get(record, "seeds", list) if "seeds" in record else [record]
    if not records:
        raise ValueError("seeds=[] must have a record for each seed")
    return [
        SeedResult(
            seed=get(own, "seed", int),
            on=_score(get(own, "metrics", dict), metric),
            off=_score(get(own, "metrics_plasticity_off", dict), metric),
            diverged="diverged_after" in own,
        )
        for own in records
    ]


def _score(metrics: dict[str, Any], metric: str) -> Score:
    summary = {metric: metrics.get(metric)}
    half = get(summary, f"{metric}.ci95", object)
    return Score(
        mean=get(summary, f"{metric}.mean", float),
        half=half if is_number(half) else math.nan,
        n=get(summary, f"{metric}.n", int),
    )


def _curve(path: pathlib.Path, metric: str) -> list[tuple[int, float]]:
    """The metric in training, where it was finite."""
    with checked(path):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        train = [row for row in rows if get(row, "split", str) == "train"]
        values = [(get(row, "step", int), row.get(metric)) for row in train]
        return [(step, value) for step, value in values if is_number(step) and is_number(value)]


def _analysis(path: pathlib.Path, steps: int) -> Analysis:
    record = read_json(path, {"step": int, "events": list, "seeds": list})
    with checked(path):
        if record["step"] != steps:
            raise ValueError(f"it is of step {record['step']}, the run of step {steps}")
        events, seeds = [str(event) for event in record["events"]], record["seeds"]
        if not events or not seeds:
            raise ValueError("events and seeds must not be empty")
        traces = {
            (kind, layer): _matrix([get(own, kind, dict).get(layer) for own in seeds], len(events))
            for kind in ("rates", "sizes", "untrained.rates", "untrained.sizes")
            for layer in get(seeds[0], "rates", dict)
        }
        metrics = [get(own, "metrics", dict) for own in seeds]
    finite = [{name: v for name, v in own.items() if is_number(v)} for own in metrics]
    return Analysis(events, traces, finite)


def _matrix(rows: list[Any], length: int) -> np.ndarray:
    """Numbers [rows, length]; null, which stands for what is not finite, is nan."""
    values = np.array(rows, np.float64)
    if values.shape != (len(rows), length):
        raise ValueError(f"a trace must have {length} numbers, one per event")
    return values


def read_manifest(path: pathlib.Path) -> dict[str, Any]:
    """manifest.json, whose `argv` is a command."""
    manifest = read_json(path, {"argv": list})
    with checked(path):
        if not manifest["argv"] or not all(isinstance(word, str) for word in manifest["argv"]):
            raise ValueError("argv must be a list of strings that is not empty")
    return manifest


def _evaluation(path: pathlib.Path, run: Run, steps: int) -> Run | None:
    """The final net under other settings; None if it is of another step, or nothing changed."""
    record = read_json(path, {"step": int, "changed": dict})
    if not record["changed"] or record["step"] != steps:
        return None
    with checked(path):
        config = _checked_config(run.config | record["changed"])
        seeds = _seeds({"seed": run.seeds[0].seed} | record, run.metric)
    return run._replace(config=config, seeds=seeds, curve=[], analysis=None, manifests=[])


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted field: value} of nested dicts."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found
