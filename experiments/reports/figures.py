"""Figures of results: legible in print, and for who does not see colours as others do.

Rules differ by colour (Okabe and Ito's palette) and by marker; plasticity off is hollow.
"""

import collections
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.reports.collect import Run, variant, varied_within_rules
from experiments.reports.statistics import interval

STYLES = {  # rule: (colour, marker)
    "none": ("#555555", "s"),
    "hebbian": ("#0072B2", "o"),
    "gradient": ("#D55E00", "^"),
}
OTHERS = [("#009E73", "D"), ("#CC79A7", "v"), ("#E69F00", "P")]
mpl.use("Agg")
plt.rcParams |= {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "plasticity",  # the same figure, the same file
    "figure.constrained_layout.use": True,
}
WIDTH = 6.4  # inches


def style(rule: str) -> tuple[str, str]:
    """Colour and marker of a rule; rules that are not ours get those that are left."""
    return STYLES.get(rule) or OTHERS[sum(map(ord, rule)) % len(OTHERS)]


def words(metric: str) -> str:
    """A metric as the label of an axis."""
    return metric.replace("_", " ").replace("mse", "MSE")


def _finish(axes: Axes, runs: Sequence[Run]) -> None:
    chance = runs[0].result.get("chance")
    if chance is not None:
        axes.axhline(chance, color="#999999", linestyle=":", linewidth=1)
        axes.annotate(
            "knows nothing", (1, chance), xycoords=("axes fraction", "data"), fontsize=7,
            color="#777777", ha="right", va="bottom",
        )  # fmt: skip
    # Of what is drawn, not of how far whiskers reach: below 0, where one seed is on a plateau.
    values = [v for run in runs for on in (True, False) for v in run.values(on) if np.isfinite(v)]
    if "mse" in runs[0].metric and values and min(values) > 0 and max(values) / min(values) > 30:
        axes.set_yscale("log")
        axes.set_ylim(bottom=min(values) / 2)
    axes.set_ylabel(words(runs[0].metric))


def performance(runs: Sequence[Run]) -> Figure:
    """The main metric of every run of a group, on (filled) and off (hollow), each seed a dot."""
    fields = varied_within_rules(runs)
    numeric = len(fields) == 1 and all(
        isinstance(run.config.get(fields[0]), int | float) for run in runs
    )
    if numeric and len({run.config[fields[0]] for run in runs}) > 2:
        return curve_over(runs, fields[0])
    variants = list(dict.fromkeys(variant(run, fields) for run in runs))
    rules = list(dict.fromkeys(run.rule for run in runs))
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    for run in runs:
        spread = (rules.index(run.rule) - (len(rules) - 1) / 2) * 0.24
        place = variants.index(variant(run, fields)) + spread
        _points(axes, place, run)
    axes.set_xticks(range(len(variants)), [_wrapped(v) for v in variants])
    axes.set_xlim(-0.6, len(variants) - 0.4)
    _legend(axes, rules, off=True)
    _finish(axes, runs)
    return figure


def _points(axes: Axes, place: float, run: Run) -> None:
    colour, marker = style(run.rule)
    for on, shift in ((True, -0.03), (False, 0.05)):
        if not on and run.rule == "none":
            continue
        values = run.values(on)
        mean, half = interval(values)
        for value, lost in zip(values, run.diverged, strict=True):
            drawn = {"marker": "x", "alpha": 1.0} if lost else {"marker": ".", "alpha": 0.35}
            axes.plot(place + shift, value, color=colour, markersize=4, **drawn)
        axes.errorbar(
            place + shift, mean, half, fmt=marker, color=colour, capsize=2, markersize=6,
            markerfacecolor=colour if on else "white",
        )  # fmt: skip


def _wrapped(text: str) -> str:
    return text.replace(", ", "\n")


def _legend(axes: Axes, rules: Sequence[str], off: bool = False) -> None:
    handles = []
    for rule in rules:
        colour, marker = style(rule)
        handles.append(plt.Line2D([], [], color=colour, marker=marker, linestyle="", label=rule))
    if off:
        handles.append(
            plt.Line2D(
                [],
                [],
                color="black",
                marker="o",
                linestyle="",
                markerfacecolor="white",
                label="plasticity off",
            )
        )
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), frameon=False
    )


def curve_over(runs: Sequence[Run], field: str) -> Figure:
    """The main metric over a setting that is a number, a line per rule, plasticity off dashed."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.8))
    rules = list(dict.fromkeys(run.rule for run in runs))
    for rule in rules:
        colour, marker = style(rule)
        own = sorted((r for r in runs if r.rule == rule), key=lambda r: r.config[field])
        places = [run.config[field] for run in own]
        for on in (True, False) if rule != "none" else (True,):
            told = [interval(run.values(on)) for run in own]
            means, halves = np.array(told).T
            axes.plot(
                places,
                means,
                "-" if on else "--",
                color=colour,
                marker=marker,
                markerfacecolor=colour if on else "white",
            )
            axes.fill_between(places, means - halves, means + halves, color=colour, alpha=0.15)
    axes.set_xlabel(field.rpartition(".")[2].replace("_", " "))
    _legend(axes, rules, off=True)
    _finish(axes, runs)
    return figure


def learning_curves(runs: Sequence[Run]) -> Figure | None:
    """Training: the main metric over steps, mean and interval over seeds; a panel per variant.

    Axes cover what 99 % of the values do: one seed's spike would hide all else.
    """
    fields = varied_within_rules(runs)
    panels: dict[str, list[Run]] = collections.defaultdict(list)
    for run in runs:
        if any(row["split"] == "train" and run.metric in row for row in run.curves):
            panels[variant(run, fields)].append(run)
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.5 + 1.9 * rows), squeeze=False, sharey=True
    )
    for axes, (title, own) in zip(grid.flat, panels.items(), strict=False):
        for run in own:
            _curve(axes, run)
        axes.set_title(_wrapped(title), fontsize=8)
        axes.set_xlabel("training step")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    seen = [v for run in runs for _, values in _by_step(run) for v in values]
    low, high = np.quantile(seen, [0.005, 0.995])
    margin = 0.05 * (high - low) or 1.0
    for axes in grid[:, 0]:
        axes.set_ylim(low - margin, high + margin)
        axes.set_ylabel(words(runs[0].metric))
    rules = list(dict.fromkeys(run.rule for run in runs))
    figure.legend(
        handles=[plt.Line2D([], [], color=style(r)[0], label=r) for r in rules],
        loc="outside upper left", ncols=len(rules), frameon=False,
    )  # fmt: skip
    return figure


def _by_step(run: Run) -> list[tuple[int, list[float]]]:
    """The main metric in training: (step, values of its seeds)."""
    by_step: dict[int, list[float]] = collections.defaultdict(list)
    for row in run.curves:
        if row["split"] == "train" and row.get(run.metric) is not None:
            by_step[row["step"]].append(row[run.metric])
    return sorted(by_step.items())


def _curve(axes: Axes, run: Run) -> None:
    steps, values = zip(*_by_step(run), strict=True)
    means, halves = np.array([interval(own) for own in values]).T
    colour, _ = style(run.rule)
    axes.plot(steps, means, color=colour, linewidth=1.2)
    axes.fill_between(steps, means - halves, means + halves, color=colour, alpha=0.15)
