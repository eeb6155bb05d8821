"""Finished runs, wherever they lie under a folder, as a report wants them."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from experiments.sweeps.tables import Row
from experiments.validate import ConfigError
from plasticity.rules import RULES

WINDOWS = {0: "full attention", -1: "attention closed"}
# Fields in which runs may differ without being different experiments.
OF_NO_INTEREST = ("seed", "rule.name", "task.features", "model.name")


class Run(NamedTuple):
    """One finished run.

    group: the folder it stands in, seen from the root: runs of a group are compared.
    config: {dotted field: value}. curves: the lines of metrics.jsonl. analysis: None: there is
    none. manifests: of its launch; several, if runs were pooled. elsewhere: the trained net on
    other test episodes, as if it were a run with that config.
    """

    group: str
    name: str
    config: dict[str, Any]
    result: dict[str, Any]
    curves: list[Row]
    analysis: dict[str, Any] | None
    manifests: list[dict[str, Any]]
    elsewhere: list["Run"]

    @property
    def rule(self) -> str:
        """Its plasticity rule."""
        return self.config["rule.name"]

    @property
    def metric(self) -> str:
        """The metric that it is told by."""
        return self.result.get("main_metric", "loss")

    def values(self, on: bool = True) -> list[float]:
        """The main metric of each seed, or of the only one."""
        part = "metrics" if on else "metrics_plasticity_off"
        return [record[part][self.metric]["mean"] for record in self.seeds]

    @property
    def seeds(self) -> list[dict[str, Any]]:
        """The result of each seed."""
        return self.result.get("seeds") or [self.result]

    @property
    def diverged(self) -> list[bool]:
        """Of each seed: whether its net diverged, and stayed as it was before."""
        return ["diverged_after" in record for record in self.seeds]


def collect(root: pathlib.Path) -> dict[str, list[Run]]:
    """The finished runs under a folder, by group, in the order of their names.

    Raises:
      ConfigError: there is none.
    """
    groups: dict[str, list[Run]] = {}
    for path in sorted(root.rglob("result.json")):
        if (path.parent / "config.json").exists():
            run = _read(root, path.parent)
            groups.setdefault(run.group, []).append(run)
    if not groups:
        raise ConfigError(
            f"--runs={root} holds no finished run: no folder with config.json and result.json"
        )
    return {group: _ordered(_pooled(runs)) for group, runs in groups.items()}


def _pooled(runs: list[Run]) -> list[Run]:
    """Runs that differ in nothing but their seeds, as one."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        same = {k: v for k, v in run.config.items() if k not in ("seed", "train.num_seeds")}
        alike.setdefault(json.dumps(same, sort_keys=True), []).append(run)
    return [_joined(own) if len(own) > 1 else own[0] for own in alike.values()]


def _joined(runs: list[Run]) -> Run:
    first = runs[0]
    analyses = [run.analysis for run in runs if run.analysis]
    seeds = [record for run in runs for record in run.seeds]
    return first._replace(
        result=first.result | {"seeds": seeds},
        curves=[{"seed": run.config.get("seed")} | row for run in runs for row in run.curves],
        analysis=analyses[0] | {"seeds": [s for a in analyses for s in a["seeds"]]}
        if analyses
        else None,
        manifests=[manifest for run in runs for manifest in run.manifests],
        elsewhere=_pooled([other for run in runs for other in run.elsewhere]),
    )


def _ordered(runs: list[Run]) -> list[Run]:
    """Runs of a group by what sets them apart, then by rule in the order of the registry."""
    fields, rules = varied_within_rules(runs), list(RULES)

    def place(run: Run) -> tuple:
        values = [run.config.get(field) for field in fields]
        told = [(0, v, "") if isinstance(v, int | float) else (1, 0, str(v)) for v in values]
        known = rules.index(run.rule) if run.rule in rules else len(rules)
        return (*told, known)

    return sorted(runs, key=place)


def _read(root: pathlib.Path, folder: pathlib.Path) -> Run:
    relative = folder.relative_to(root)
    manifest = _json(folder / "manifest.json")
    run = Run(
        group=str(relative.parent) if relative.parent.name else relative.name or folder.name,
        name=folder.name,
        config=flat(_json(folder / "config.json")),
        result=_json(folder / "result.json"),
        curves=_lines(folder / "metrics.jsonl"),
        analysis=_json(folder / "analysis.json"),
        manifests=[manifest] if manifest else [],
        elsewhere=[],
    )
    return run._replace(elsewhere=_elsewhere(run, folder))


def _elsewhere(run: Run, folder: pathlib.Path) -> list[Run]:
    """Evaluations of the final net on episodes of another kind, each kind once."""
    found = {}
    for path in sorted(folder.glob("evaluation-*.json")):
        report = _json(path)
        if report["changed"] and report["step"] == run.result.get("steps"):
            told = run.result | {"seeds": report.get("seeds") or [report]}
            kind = json.dumps(report["changed"], sort_keys=True)
            found[kind] = run._replace(config=run.config | report["changed"], result=told)
    return [other._replace(curves=[], analysis=None, manifests=[]) for other in found.values()]


def _json(path: pathlib.Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _lines(path: pathlib.Path) -> list[Row]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted field: value} of nested dicts."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def varied(runs: Iterable[Run]) -> list[str]:
    """The fields, apart from the rule, in which runs of a group differ, most telling first."""
    runs = list(runs)
    names = list(dict.fromkeys(name for run in runs for name in run.config))
    differing = [n for n in names if len({json.dumps(run.config.get(n)) for run in runs}) > 1]
    models = ["model.name"] if "model.name" in differing else []
    if models:  # what differs because the models have other settings is said by their names
        differing = [n for n in differing if all(n in run.config for run in runs)]
    return models + [name for name in differing if name not in OF_NO_INTEREST]


def varied_within_rules(runs: Iterable[Run]) -> list[str]:
    """Those of them in which runs of one rule differ; what goes with the rule is not among them."""
    runs = list(runs)
    rules = {run.rule for run in runs}
    apart = {name for rule in rules for name in varied(run for run in runs if run.rule == rule)}
    return [name for name in varied(runs) if name in apart]


def variant(run: Run, fields: Iterable[str]) -> str:
    """What sets a run apart from others of its group and rule, in words."""
    return ", ".join(in_words(name, run.config.get(name)) for name in fields)


def in_words(field: str, value: Any) -> str:
    """A field and its value, as a reader wants them."""
    if field == "rule.name":
        return str(value)
    if field == "model.attention_window" and value in WINDOWS:
        return WINDOWS[value]
    return f"{field.rpartition('.')[2].replace('_', ' ')} {value}"
