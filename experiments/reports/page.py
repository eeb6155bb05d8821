"""Tables of a report, as rows and as LaTeX, and its page; both from templates."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2

from plasticity.experiments.reports.labels import varied
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.run.intervals import mean_interval
from plasticity.experiments.sweeps.tables import Row, columns

SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def cell(value: Any) -> str:
    """A value in a table: numbers with four significant digits, integers whole, None empty."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=lambda name: "html" in str(name),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
ENVIRONMENT.filters |= {"columns": columns, "cell": cell, "tex": lambda s: s.translate(SPECIAL)}


def page(**content: Any) -> str:
    """The HTML page; text is escaped."""
    return ENVIRONMENT.get_template("report.html.jinja").render(content)


def latex(rows: Sequence[Row]) -> str:
    """A booktabs table."""
    template = ENVIRONMENT.get_template("table.tex.jinja")
    return template.render(rows=rows, names=columns(rows)) + "\n"


def results_table(runs: Sequence[Run]) -> list[Row]:
    """A row per run of a group: the fields that vary, and its headline metric on and off."""
    fields, rows = varied(runs), []
    for run in runs:
        row: Row = {field.rpartition(".")[2]: run.config.get(field, "") for field in fields}
        row |= {"rule": run.rule} | _mean(run.metric, "ci95", *run.interval())
        off = (math.nan, math.nan) if run.static else run.interval(False)
        row |= _mean("off", "ci95 off", *off)
        several = len(run.seeds) > 1
        row["interval over"] = "seeds" if several else f"{run.episodes} test episodes"
        rows.append(row | {"seeds": len(run.seeds), "diverged": sum(run.diverged)})
    return rows


def analysis_table(run: Run) -> list[Row]:
    """Scalars of an analysis: the trained net beside the untrained one, intervals over seeds."""
    assert run.analysis is not None
    seeds, rows = [seed["metrics"] for seed in run.analysis["seeds"]], []
    for name in dict.fromkeys(name.removesuffix("_untrained") for seed in seeds for name in seed):
        if name.startswith(run.metric):  # under an intervention: in the figure
            continue
        row: Row = {"quantity": name.replace("_", " ")}
        for column, key in (("trained", name), ("untrained", f"{name}_untrained")):
            values = [seed[key] for seed in seeds if key in seed]
            row |= _mean(column, f"{column} ci95", *mean_interval(values))
        rows.append(row)
    return rows


def _mean(column: str, interval: str, mean: float, half: float) -> Row:
    """Cells of a mean and half its interval; empty where there is none."""
    return {c: None if math.isnan(v) else v for c, v in ((column, mean), (interval, half))}
