"""Figures of the headline metric of finished networks."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from plasticity.experiments.reports import figures, labels
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.run.checked import is_number

MOST_ROWS = 60  # of a figure; tables have all runs
MOST_TICKS = 6  # where every value has one
GEOMETRIC = 8  # the largest value over the smallest, from which an axis is logarithmic


def performance(runs: Sequence[Run]) -> Figure:
    """The headline metric of each run of a group, on (filled) and off (hollow); seeds are dots.

    Over a setting with more than two numeric values, a panel for each value of the others; or else
    a row for each run.
    """
    axis = numeric_axis(runs, labels.varied_within_rules(runs))
    if axis:
        return _lines(runs, *axis)
    figure = _rows(runs[:MOST_ROWS])
    figures.say_left_out(figure, min(len(runs), MOST_ROWS), len(runs))
    return figure


def numeric_axis(runs: Sequence[Run], fields: Sequence[str]) -> tuple[str, list[str]] | None:
    """The field of the x axis, and those that set panels apart; None: there is no such axis.

    It has three numeric values, and on average two in each panel, the more the better. What
    follows from its value, such as training for longer over longer delays, makes no panel.
    """
    found = []
    for field in fields:
        values = [run.config.get(field) for run in runs]
        if not all(map(is_number, values)) or len(set(values)) < 3:
            continue
        others = [f for f in fields if f != field and not _follows(runs, f, field)]
        points = set(zip(values, labels.variants(runs, others), strict=True))
        found.append((len(points) / len({panel for _, panel in points}), field, others))
    points_per_panel, *axis = max(found, key=lambda one: one[0], default=(0, "", []))
    return tuple(axis) if points_per_panel >= 2 else None


def _follows(runs: Sequence[Run], field: str, other: str) -> bool:
    """Whether the value of a field is a function of the other's."""
    pairs = {(run.config[other], json.dumps(run.config.get(field))) for run in runs}
    return len(pairs) == len({value for value, _ in pairs})


def _lines(runs: Sequence[Run], field: str, others: Sequence[str]) -> Figure:
    figure, panels = figures.variants(runs, others)
    for axes, own in panels:
        for rule in dict.fromkeys(run.rule for run in own):
            _line(axes, [run for run in own if run.rule == rule], field)
        values = sorted({run.config[field] for run in own})
        if values[0] > 0 and values[-1] >= GEOMETRIC * values[0]:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(values[:: math.ceil(len(values) / MOST_TICKS)])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(labels.field_label(field))
        _chance(axes, own)
    _scale(panels[0][0], runs)
    figures.legend(figure, runs, "-")
    return figure


def _line(axes: Axes, runs: Sequence[Run], field: str) -> None:
    """The runs of one rule."""
    runs = sorted(runs, key=lambda run: run.config[field])
    for on in runs[0].switched:
        for run in runs:
            _point(axes, run, on, run.config[field])
        line = [run.config[field] for run in runs], [run.interval(on)[0] for run in runs]
        axes.plot(*line, "-" if on else "--", color=figures.style(runs[0].rule)[0], linewidth=1)


def _rows(runs: Sequence[Run]) -> Figure:
    titles = labels.rule_and_variant(runs)
    figure, ((axes, places),) = figures.strips([titles])
    for place, run in zip(places, runs, strict=True):
        for on in run.switched:
            _point(axes, run, on, place, "x")
    axes.set_xlabel(labels.metric_label(runs[0].metric))
    _chance(axes, runs, "x")
    _scale(axes, runs, "x")
    figures.legend(figure, runs, but=("rules",))
    return figure


def _point(axes: Axes, run: Run, on: bool, at: float, which: str = "y") -> None:
    """A run at a place; `which` is the axis of its metric."""
    colour, marker = figures.style(run.rule)
    order = 1 if which == "y" else -1
    for value, diverged in zip(run.values(on), run.diverged, strict=True):
        drawn = {"marker": "x", "alpha": 1.0} if diverged else {"marker": ".", "alpha": 0.35}
        axes.plot(*(at, value)[::order], color=colour, markersize=4, **drawn)
    mean, half = run.interval(on)
    drawn = {f"{which}err": half, "markerfacecolor": colour if on else "white"}
    place = (at, mean)[::order]
    axes.errorbar(*place, fmt=marker, color=colour, capsize=2, markersize=6, **drawn)


def _chance(axes: Axes, runs: Sequence[Run], which: str = "y") -> None:
    """The chance level, if all runs have the same."""
    levels = {run.chance for run in runs}
    if len(levels) == 1 and None not in levels:
        draw = axes.axhline if which == "y" else axes.axvline
        draw(*levels, color="#999999", linestyle=":", linewidth=1)


def _scale(axes: Axes, runs: Sequence[Run], which: str = "y") -> None:
    """Of the axis of the metric. Limits follow the values: whiskers may reach below 0."""
    scores = [v for run in runs for on in (True, False) for v in run.values(on)]
    values, metric = sorted(v for v in scores if not math.isnan(v)), runs[0].metric
    if "mse" in metric and values and values[-1] > 30 * values[0] > 0:
        axes.set(**{f"{which}scale": "log"})
        axes.set(**{f"{which}lim": (values[0] / 2, None)})
    figures.bound(axes, metric, which)


def evaluated_under(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """{field: its values} of evaluations, of fields that vary among them alone.

    Numbers are in their order, other values in the order of the evaluations.
    """
    others = [other for run in runs for other in run.elsewhere]
    settings = {}
    for field in labels.varied(others):
        known = [other.config[field] for other in others if field in other.config]
        values = list({json.dumps(value): value for value in known}.values())
        if field not in labels.varied(runs):
            settings[field] = sorted(values) if all(map(is_number, values)) else values
    return settings


def score_table(run: Run, settings: dict[str, list[Any]]) -> np.ndarray:
    """The headline metric [values of the first setting, of the second]; nan: was not tested."""
    (row, rows), (column, columns) = settings.items()
    table = np.full((len(rows), len(columns)), np.nan)
    for one in (run, *run.elsewhere):
        if one.config.get(row) in rows and one.config.get(column) in columns:
            place = rows.index(one.config[row]), columns.index(one.config[column])
            table[place] = one.interval()[0]
    return table


def heat_maps(runs: Sequence[Run]) -> Figure | None:
    """Trained networks tested under two settings, a panel for each; the numbers are printed.

    None: not two settings were varied, or most of their combinations were not tested, or a network
    was tested several times under one of them.
    """
    # The setting with fewer values, such as three depths, stands side by side.
    settings = dict(sorted(evaluated_under(runs).items(), key=lambda one: -len(one[1])))
    tested = [run for run in runs if run.elsewhere][: figures.PANELS]
    if len(settings) != 2 or any({*labels.varied(r.elsewhere)} - settings.keys() for r in tested):
        return None
    tables = np.array([score_table(run, settings) for run in tested])
    if np.isfinite(tables).mean() <= 0.5:
        return None
    (row, rows), (column, columns) = settings.items()
    titles = labels.rule_and_variant(tested)
    figure, grid = figures.grid(titles, 0.8 + 0.25 * len(rows), labels.field_label(row))
    low, high = np.nanquantile(tables, [0, 1])
    if runs[0].metric.endswith("accuracy"):
        low, high = 0, 1
    for axes, table in zip(grid, tables, strict=True):
        axes.imshow(table, cmap="cividis", vmin=low, vmax=high, aspect="auto")
        for (y, x), score in np.ndenumerate(table):
            shown = {"color": "white" if score < (low + high) / 2 else "black", "fontsize": 8}
            axes.text(x, y, labels.cell(float(score)), ha="center", va="center", **shown)
        axes.set_xticks(range(len(columns)), map(str, columns))
        axes.set_yticks(range(len(rows)), map(str, rows))
        axes.set_xlabel(labels.field_label(column))
    return figure
