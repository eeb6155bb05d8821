"""Names of fields, metrics and runs, and commands, as tables and figures show them."""

import collections
import json
import pathlib
import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from plasticity.commands import program
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.run.checked import is_number

WINDOWS = {0: "full attention", -1: "attention closed"}
# Runs that differ in these alone are not different experiments.
IGNORED = re.compile(
    r"seed|train\.num_seeds|rule\.name|model\.name|task\.features|(log|checkpoint)\..*"
)
# What may befall the networks of a comparison, as its record counts it.
LOST = ("diverged", "exploded", "failed", "without a value")
LONGEST = 60  # characters of a label


def varied(runs: Iterable[Run]) -> list[str]:
    """The fields, apart from the rule, in which runs of a group differ; the model comes first."""
    runs = list(runs)
    names = list(dict.fromkeys(name for run in runs for name in run.config))
    # Of those that have it: a rule lacks the settings of others.
    values = {n: {json.dumps(r.config[n]) for r in runs if n in r.config} for n in names}
    differing = [name for name, found in values.items() if len(found) > 1]
    models = ["model.name"] if "model.name" in differing else []
    if models:  # a field that only some models have may be implied by the model's name
        differing = [n for n in differing if n.startswith("rule.") or not _implied(n, runs)]
    return models + [name for name in differing if not IGNORED.fullmatch(name)]


def _implied(field: str, runs: Sequence[Run]) -> bool:
    """Whether the model's name says what the field is, in a group of which some lack it."""
    known = [run for run in runs if field in run.config]
    values = {(run.config.get("model.name"), json.dumps(run.config[field])) for run in known}
    return len(known) < len(runs) and len(values) == len({model for model, _ in values})


def varied_within_rules(runs: Iterable[Run]) -> list[str]:
    """Those of them in which runs of the same rule differ."""
    runs = list(runs)
    rules = {run.rule for run in runs}
    apart = {name for rule in rules for name in varied(run for run in runs if run.rule == rule)}
    return [name for name in varied(runs) if name in apart]


def variants(runs: Sequence[Run], fields: Sequence[str]) -> list[str]:
    """What sets each run apart from others of its group and rule.

    Of fields that change together, such as those of a curriculum, the first stands for all. Of
    more than three, values that most runs share are left out.
    """
    fields = _apart(runs, fields)
    names, usual = short_names(fields), {}
    for field in fields if len(fields) > 3 else ():
        values = collections.Counter(str(run.config.get(field)) for run in runs)
        ((value, count),) = values.most_common(1)
        usual[field] = value if 2 * count > len(runs) else None
    return [
        ", ".join(
            setting(field, run.config[field], names[field])
            for field in fields
            if field in run.config and str(run.config[field]) != usual.get(field)
        )
        for run in runs
    ]


def _apart(runs: Sequence[Run], fields: Sequence[str]) -> list[str]:
    """The fields without those that part the runs as an earlier one does."""
    found: dict[tuple[int, ...], str] = {}
    for field in fields:
        values = [json.dumps(run.config.get(field)) for run in runs]
        found.setdefault(tuple(map(values.index, values)), field)
    return list(found.values())


def short_names(fields: Sequence[str], taken: Collection[str] = ()) -> dict[str, str]:
    """{field: its last part}, or the whole of it where two fields, or `taken`, have the same."""
    last = [field.rpartition(".")[2] for field in fields]
    return {
        field: field if last.count(name) > 1 or name in taken else name
        for field, name in zip(fields, last, strict=True)
    }


def setting(field: str, value: Any, name: str = "") -> str:
    """A field, by default under its short name, and its value, such as "delay 20"."""
    if field == "rule.name":
        return str(value)
    if field == "model.attention_window" and is_number(value) and value in WINDOWS:
        return WINDOWS[value]
    name = (name or field.rpartition(".")[2]).replace(".", " ").replace("_", " ")
    return f"no {name}" if value == "" else f"{name} {value}"


def field_label(field: str) -> str:
    """A field as the label of an axis."""
    return drawable(field.rpartition(".")[2].replace("_", " "))


def rule_and_variant(runs: Sequence[Run]) -> list[str]:
    """Of each run: its rule, and what sets it apart from the others of that rule."""
    names = {}
    for rule in {run.rule for run in runs}:
        own = [run for run in runs if run.rule == rule]
        titles = variants(own, varied(own))
        names |= {id(run): title for run, title in zip(own, titles, strict=True)}
    return [", ".join(filter(None, [run.rule, names[id(run)]])) for run in runs]


def less_is_better(metric: str) -> bool:
    """Whether a metric is an error."""
    return metric.endswith("loss") or "mse" in metric


def cell(value: Any) -> str:
    """A value as text: numbers with three significant digits, integers whole, None empty."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    if 1000 <= abs(value) < 1e6:
        return f"{float(f'{value:.3g}'):.0f}"
    return f"{value:.3g}"


def metric_label(metric: str) -> str:
    """A metric as the label of an axis."""
    return drawable(metric.replace("_", " ").replace("mse", "MSE"))


def drawable(text: str) -> str:
    """Text for a figure: short, printable, without formulas, which dollar signs enclose."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return "".join(c if c.isprintable() else "?" for c in short).replace("$", r"\$")


def command(argv: Sequence[str]) -> str:
    """The command of a launch, to be typed; of a worker, the command that started the worker."""
    started = pathlib.PurePath(argv[0])
    if started.parent.name != "experiments":
        return f"plasticity.train(CONFIG, WORKDIR) in {started.name or 'Python'}"
    # An empty flag of a program is as good as none. An empty setting may take a default's place.
    idle = [a for a in argv[1:] if a.endswith("=") and not a.startswith("--config.")]
    given = [a for a in argv[1:] if a not in idle and not a.startswith("--only=")]
    return shlex.join(["python", "-m", program(started.stem), *given])
