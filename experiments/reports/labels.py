"""Names of fields, metrics and runs, and commands, as tables and figures show them."""

import json
import pathlib
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from plasticity.commands import program
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.run.checked import is_number

WINDOWS = {0: "full attention", -1: "attention closed"}
# Runs that differ in these alone are not different experiments.
IGNORED = re.compile(
    r"seed|train\.num_seeds|rule\.name|model\.name|task\.features|(log|checkpoint)\..*"
)
LONGEST = 60  # characters of a label


def varied(runs: Iterable[Run]) -> list[str]:
    """The fields, apart from the rule, in which runs of a group differ; the model comes first."""
    runs = list(runs)
    names = list(dict.fromkeys(name for run in runs for name in run.config))
    # Of those that have it: a rule lacks the settings of others.
    values = {n: {json.dumps(r.config[n]) for r in runs if n in r.config} for n in names}
    differing = [name for name, found in values.items() if len(found) > 1]
    models = ["model.name"] if "model.name" in differing else []
    if models:  # a field that only one of the models has is implied by the model's name
        differing = [
            n for n in differing if n.startswith("rule.") or all(n in r.config for r in runs)
        ]
    return models + [name for name in differing if not IGNORED.fullmatch(name)]


def varied_within_rules(runs: Iterable[Run]) -> list[str]:
    """Those of them in which runs of the same rule differ."""
    runs = list(runs)
    rules = {run.rule for run in runs}
    apart = {name for rule in rules for name in varied(run for run in runs if run.rule == rule)}
    return [name for name in varied(runs) if name in apart]


def variant(run: Run, fields: Sequence[str]) -> str:
    """What sets a run apart from others of its group and rule."""
    return ", ".join(setting(name, run.config[name]) for name in fields if name in run.config)


def setting(field: str, value: Any) -> str:
    """A field and its value, such as "delay 20"."""
    if field == "rule.name":
        return str(value)
    if field == "model.attention_window" and is_number(value) and value in WINDOWS:
        return WINDOWS[value]
    return f"{field.rpartition('.')[2].replace('_', ' ')} {value}"


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
    flags_given = [a for a in argv[1:] if not a.startswith("--only=") and not a.endswith("=")]
    return shlex.join(["python", "-m", program(started.stem), *flags_given])
