"""What all figures of results share: legible in print, on a phone, and for colour-blind readers.

Rules differ by colour (Okabe and Ito's palette) and by marker; plasticity off is hollow.
"""

import collections
import math
import textwrap
from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plasticity.experiments.reports import labels
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.run.intervals import mean_interval
from plasticity.rules import RULES

STYLES = {  # rule: (colour, marker)
    "none": ("#555555", "s"),
    "hebbian": ("#0072B2", "o"),
    "gradient": ("#D55E00", "^"),
}
# Of other rules; the last three colours are Tol's. Seven and five have no common divisor, so that
# no two rules share both.
COLOURS = ["#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288"]
MARKERS = ["D", "v", "P", "X", "<"]
SETTINGS = {  # of Matplotlib, while a figure is drawn or written
    "font.size": 9,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "plasticity",  # the same figure, the same file
    "figure.constrained_layout.use": True,
}
WIDTH = 4.2  # inches, about a phone: the smallest text, 8 points, has 9 pixels there
SINGLE = 1.3  # height of an only panel, relative to one of several
WRAPPED = 24  # characters of a line of a label beside a figure
MOST_LINES = 3  # of such a label
PANELS = 30  # a sweep may have thousands of points
MARGIN = 0.02  # beyond 0 and 1 on an axis of accuracy, so that a marker there is whole


def style(rule: str) -> tuple[str, str]:
    """Colour and marker of a rule; those of two rules of the library differ."""
    index = list(RULES).index(rule) if rule in RULES else sum(map(ord, rule))
    return STYLES.get(rule) or (COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])


def integer_steps(axes: Axes) -> None:
    """Labels the x axis at integers alone."""
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))


def bound(axes: Axes, metric: str, which: str = "y") -> None:
    """Keeps an axis of accuracy within [0, 1]."""
    if metric.endswith("accuracy"):
        low, high = getattr(axes, f"get_{which}lim")()
        axes.set(**{f"{which}lim": (max(low, -MARGIN), min(high, 1 + MARGIN))})


def grid(titles: Collection[str], height: float, ylabel: str) -> tuple[Figure, list[Axes]]:
    """A figure with a panel per title, at most two in a row, which share the y axis."""
    several = len(list(titles)) > 1
    titles = [textwrap.fill(title or "usual settings" * several, WRAPPED) for title in titles]
    columns = 2 if several else 1
    rows = math.ceil(len(titles) / columns)
    height += 0.13 * max(title.count("\n") for title in titles)
    figure = Figure((WIDTH, 0.5 + height * (rows if several else SINGLE)))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten().tolist()
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title("\n".join(map(labels.drawable, title.split("\n"))), fontsize=8)
    for axes in panels[::columns]:
        axes.set_ylabel(ylabel)
    for axes in panels[len(titles) :]:
        axes.set_visible(False)
    return figure, panels[: len(titles)]


def variants(
    runs: Sequence[Run], fields: Sequence[str]
) -> tuple[Figure, list[tuple[Axes, list[Run]]]]:
    """A figure of the headline metric, with a panel for each labels.variant, and its runs."""
    panels: dict[str, list[Run]] = collections.defaultdict(list)
    for run, title in zip(runs, labels.variants(runs, fields), strict=True):
        panels[title].append(run)
    shown = dict(list(panels.items())[:PANELS])
    figure, grid_axes = grid(shown, 1.9, labels.metric_label(runs[0].metric))
    say_left_out(figure, len(shown), len(panels))
    return figure, list(zip(grid_axes, shown.values(), strict=True))


def say_left_out(figure: Figure, shown: int, there: int) -> None:
    """Tells below a figure that it does not show all."""
    if shown < there:
        figure.supxlabel(f"the first {shown} of {there}; the tables have all", fontsize=8)


def strips(columns: Sequence[Sequence[str]]) -> tuple[Figure, list[tuple[Axes, np.ndarray]]]:
    """A figure of strip plots side by side, with a row for each label, and the places of rows."""
    wrap = textwrap.TextWrapper(
        WRAPPED, break_on_hyphens=False, max_lines=MOST_LINES, placeholder=" ..."
    )
    texts = [[wrap.wrap(label) for label in column] for column in columns]
    heights = [np.array([len(lines) + 1 for lines in column]) for column in texts]
    length = max(map(sum, heights))
    figure = Figure((WIDTH * len(columns), 0.9 + 0.12 * length))
    panels = figure.subplots(1, len(columns), squeeze=False)[0].tolist()
    places = [np.cumsum(own) - own / 2 for own in heights]
    for axes, column, own in zip(panels, texts, places, strict=True):
        axes.set_yticks(
            own, ["\n".join(map(labels.drawable, lines)) for lines in column], fontsize=8
        )
        axes.set_ylim(length, 0)
        axes.grid(axis="y", color="#eeeeee")
        axes.set_axisbelow(True)
    return figure, list(zip(panels, places, strict=True))


def legend(figure: Figure, runs: Sequence[Run], line: str = "", but: Collection[str] = ()) -> None:
    """Above a figure: the rules by their markers and lines, plasticity off, and the chance level.

    Args:
      but: those of "rules", "off" and "chance" that are not told apart in the figure.
    """
    rules = dict.fromkeys(run.rule for run in runs if "rules" not in but)
    entries = [(*style(rule), labels.drawable(rule), None, line) for rule in rules]
    if "off" not in but and not all(run.static for run in runs):
        entries.append(("black", "o", "plasticity off", "white", line and "--"))
    if "chance" not in but and any(run.chance is not None for run in runs):
        entries.append(("#999999", "", "chance level", None, ":"))
    handles = [
        Line2D([], [], color=c, marker=m, linestyle=line, markersize=5, markerfacecolor=f, label=t)
        for c, m, t, f, line in entries
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False)


def learning_curves(runs: Sequence[Run]) -> Figure | None:
    """The headline metric in training, mean and interval over seeds: a panel per variant.

    Axes cover 99 % of the values, so that a spike of one seed does not flatten all others. None:
    there are no curves.
    """
    trained = [run for run in runs if run.curve]
    if not trained:
        return None
    figure, panels = variants(trained, labels.varied_within_rules(runs))
    for axes, own in panels:
        for run in own:
            _curve(axes, run)
        axes.set_xlabel("training step")
        integer_steps(axes)
    drawn = [run for _, own in panels for run in own]
    low, high = np.quantile([value for run in drawn for _, value in run.curve], [0.005, 0.995])
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    panels[0][0].set_ylim(low - margin, high + margin)
    bound(panels[0][0], runs[0].metric)
    legend(figure, drawn, "-", but=("off", "chance"))
    return figure


def _curve(axes: Axes, run: Run) -> None:
    by_step: dict[int, list[float]] = collections.defaultdict(list)
    for step, value in run.curve:
        by_step[step].append(value)
    steps = sorted(by_step)
    means, halves = np.array([mean_interval(by_step[step]) for step in steps]).T
    colour, marker = style(run.rule)
    few = {"markevery": max(1, len(steps) // 4), "markersize": 4}
    axes.plot(steps, means, color=colour, linewidth=1.2, marker=marker, **few)
    axes.fill_between(steps, means - halves, means + halves, color=colour, alpha=0.15)
