"""Figures of results, legible in print and for colour-blind readers.

Rules differ by colour (Okabe and Ito's palette) and by marker; plasticity off is hollow.
"""

import collections
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plasticity.experiments.reports.labels import (
    drawable,
    metric_label,
    variant,
    varied_within_rules,
)
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.run.checked import is_number
from plasticity.experiments.run.intervals import mean_interval

STYLES = {  # rule: (colour, marker)
    "none": ("#555555", "s"),
    "hebbian": ("#0072B2", "o"),
    "gradient": ("#D55E00", "^"),
}
OTHERS = [("#009E73", "D"), ("#CC79A7", "v"), ("#E69F00", "P")]
SETTINGS = {  # of Matplotlib, while a figure is drawn or written
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "plasticity",  # the same figure, the same file
    "figure.constrained_layout.use": True,
}
WIDTH = 6.4  # inches
PANELS = 30  # of learning curves; a sweep may have thousands of points
MARGIN = 0.02  # beyond 0 and 1 on an axis of accuracy, so that a marker there is whole


def style(rule: str) -> tuple[str, str]:
    """Colour and marker of a rule; rules without a style of their own share three others."""
    return STYLES.get(rule) or OTHERS[sum(map(ord, rule)) % len(OTHERS)]


def integer_steps(axes: Axes) -> None:
    """Labels the x axis at integers alone."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _finish(axes: Axes, runs: Sequence[Run]) -> None:
    """The chance level, and the scale of the axis of the metric."""
    metric, chance = runs[0].metric, runs[0].chance
    if chance is not None:
        axes.axhline(chance, color="#999999", linestyle=":", linewidth=1)
        axes.annotate(
            "chance level", (1, chance), xycoords=("axes fraction", "data"), fontsize=7,
            color="#777777", ha="right", va="bottom",
        )  # fmt: skip
    # Limits follow the values: with one seed on a plateau, whiskers reach below 0.
    scores = [v for run in runs for on in (True, False) for v in run.values(on)]
    values = sorted(v for v in scores if not math.isnan(v))
    if "mse" in metric and values and values[-1] > 30 * values[0] > 0:
        axes.set_yscale("log")
        axes.set_ylim(bottom=values[0] / 2)
    bound(axes.yaxis, metric)
    axes.set_ylabel(metric_label(metric))


def bound(axis: Axis, metric: str) -> None:
    """Keeps an axis of accuracy within [0, 1]."""
    if metric.endswith("accuracy"):
        low, high = axis.get_view_interval()
        axis.set_view_interval(max(low, -MARGIN), min(high, 1 + MARGIN), ignore=True)


def performance(runs: Sequence[Run]) -> Figure:
    """The headline metric of each run of a group, on (filled) and off (hollow); seeds are dots.

    The x axis is a setting that has more than two numeric values, or else the variants, side by
    side.
    """
    fields, rules = varied_within_rules(runs), list(dict.fromkeys(run.rule for run in runs))
    settings = [run.config.get(field) for run in runs for field in fields]
    numeric = len(fields) == 1 and all(map(is_number, settings)) and len(set(settings)) > 2
    variants = list(dict.fromkeys(variant(run, fields) for run in runs))

    def place(run: Run, on: bool = True) -> float:
        if numeric:
            return run.config[fields[0]]
        spread = (rules.index(run.rule) - (len(rules) - 1) / 2) * 0.24
        return variants.index(variant(run, fields)) + spread + (-0.03 if on else 0.05)

    figure = Figure((WIDTH, 2.7))
    axes = figure.subplots()
    for rule in rules:
        own = sorted((run for run in runs if run.rule == rule), key=place)
        for on in (True,) if own[0].static else (True, False):
            for run in own:
                _point(axes, place(run, on), run, on)
            if numeric:
                line = (list(map(place, own)), [run.interval(on)[0] for run in own])
                axes.plot(*line, "-" if on else "--", color=style(rule)[0], linewidth=1)
    if numeric:
        axes.xaxis.set_major_locator(MaxNLocator(integer=all(isinstance(v, int) for v in settings)))
        axes.set_xlabel(drawable(fields[0].rpartition(".")[2].replace("_", " ")))
    else:
        axes.set_xticks(range(len(variants)), map(_wrapped, variants))
        axes.tick_params(bottom=len(variants) > 1)
        axes.set_xlim(-0.6, len(variants) - 0.4)
    entries = [(*style(rule), drawable(rule), None) for rule in rules]
    if not all(run.static for run in runs):
        entries.append(("black", "o", "plasticity off", "white"))
    handles = [
        Line2D([], [], color=c, marker=m, linestyle="", label=label, markerfacecolor=face or c)
        for c, m, label, face in entries
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), frameon=False
    )
    _finish(axes, runs)
    return figure


def _point(axes: Axes, x: float, run: Run, on: bool) -> None:
    colour, marker = style(run.rule)
    for value, diverged in zip(run.values(on), run.diverged, strict=True):
        drawn = {"marker": "x", "alpha": 1.0} if diverged else {"marker": ".", "alpha": 0.35}
        axes.plot(x, value, color=colour, markersize=4, **drawn)
    mean, half = run.interval(on)
    axes.errorbar(
        x, mean, half, fmt=marker, color=colour, capsize=2, markersize=6,
        markerfacecolor=colour if on else "white",
    )  # fmt: skip


def _wrapped(text: str) -> str:
    return "\n".join(map(drawable, text.split(", ")))


def learning_curves(runs: Sequence[Run]) -> Figure | None:
    """The headline metric in training, mean and interval over seeds: a panel per variant.

    Axes cover 99 % of the values, so that a spike of one seed does not flatten all others. None:
    there are no curves.
    """
    fields = varied_within_rules(runs)
    panels: dict[str, list[Run]] = collections.defaultdict(list)
    for run in runs:
        if run.curve and (variant(run, fields) in panels or len(panels) < PANELS):
            panels[variant(run, fields)].append(run)
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure((WIDTH, 0.5 + 1.9 * rows))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, (title, own) in zip(grid.flat, panels.items(), strict=False):
        for run in own:
            _curve(axes, run)
        axes.set_title(_wrapped(title), fontsize=8)
        axes.set_xlabel("training step")
        integer_steps(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    drawn = [run for own in panels.values() for run in own]
    low, high = np.quantile([value for run in drawn for _, value in run.curve], [0.005, 0.995])
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    for axes in grid[:, 0]:
        axes.set_ylim(low - margin, high + margin)
        bound(axes.yaxis, runs[0].metric)
        axes.set_ylabel(metric_label(runs[0].metric))
    rules = dict.fromkeys(run.rule for run in drawn)
    figure.legend(
        handles=[Line2D([], [], color=style(r)[0], label=drawable(r)) for r in rules],
        loc="outside upper left", ncols=len(rules), frameon=False,
    )  # fmt: skip
    return figure


def _curve(axes: Axes, run: Run) -> None:
    by_step: dict[int, list[float]] = collections.defaultdict(list)
    for step, value in run.curve:
        by_step[step].append(value)
    steps = sorted(by_step)
    means, halves = np.array([mean_interval(by_step[step]) for step in steps]).T
    colour, _ = style(run.rule)
    marker = "." if len(steps) == 1 else None  # a line needs two points
    axes.plot(steps, means, color=colour, linewidth=1.2, marker=marker)
    axes.fill_between(steps, means - halves, means + halves, color=colour, alpha=0.15)
