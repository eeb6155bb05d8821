"""Figures of matrices: how fast, slow and effective weights use their directions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plasticity.experiments.reports import figures, labels
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.reports.trace_figures import LAYERS
from plasticity.experiments.run.intervals import mean_interval

LINES = {"fast": "-", "effective": "--", "slow": ":"}
SHOWN = {"effective_rank": "effective rank", "condition_number": "condition number"}
LARGEST_RATIO = 10.0  # of condition numbers on a linear axis

Rows = Sequence[Mapping[str, Any]]


def along_episode(run: Run) -> Figure | None:
    """Effective rank and condition number over an episode, mean over seeds.

    None: the analysis is older than these measures.
    """
    assert run.analysis is not None
    seeds = [seed["matrices"] for seed in run.analysis["seeds"]]
    if not all(seeds):
        return None
    figure = Figure((figures.WIDTH, 3.6))
    grid = figure.subplots(len(SHOWN), 1, sharex=True)
    steps = sorted({row["step"] for row in seeds[0]})
    for axes, (name, title) in zip(grid, SHOWN.items(), strict=True):
        for index, layer in enumerate(run.analysis["layers"]):
            colour = LAYERS[index % len(LAYERS)]
            for weights, line in LINES.items():
                curves = [_curve(rows, layer, weights, name, steps) for rows in seeds]
                label = labels.drawable(layer) if weights == "fast" else ""
                _line(axes, steps, curves, colour, line, label)
        axes.set_ylabel(title)
        _scale(axes)
    grid[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    grid[-1].set_xlabel("steps of the episode that are done")
    figures.integer_steps(grid[-1])
    return figure


def _curve(
    rows: Rows, layer: str, weights: str, name: str, steps: Sequence[int]
) -> Sequence[float]:
    """A measure at each step; nan where there is none. Slow weights stay as they are."""
    found = {r["step"]: r.get(name) for r in rows if (r["layer"], r["weights"]) == (layer, weights)}
    known = [found.get(0 if weights == "slow" else step) for step in steps]
    return [np.nan if value is None else value for value in known]


def of_stream(runs: Sequence[Run]) -> Figure | None:
    """Effective rank of slow weights after each task of a stream, a panel per run.

    None: the runs are of no stream, or are older than this measure.
    """
    learned = [run for run in runs if all(_slow(seed) for seed in run.seeds)][: figures.PANELS]
    if not learned:
        return None
    titles = labels.rule_and_variant(learned)
    figure, grid = figures.grid(titles, 1.6, SHOWN["effective_rank"])
    for axes, run in zip(grid, learned, strict=True):
        for index, layer in enumerate(_slow(run.seeds[0])):
            curves = [_slow(seed)[layer] for seed in run.seeds]
            tasks = range(len(curves[0]))
            _line(axes, tasks, curves, LAYERS[index % len(LAYERS)], "-", labels.drawable(layer))
        axes.set_xlabel("tasks learned")
        figures.integer_steps(axes)
    handles, _ = grid[0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False)
    return figure


def _slow(seed: Mapping[str, Any]) -> Mapping[str, Any]:
    return seed.get("slow_matrices", {}).get("effective_rank", {})


def _line(axes: Axes, x: Sequence[int], curves: Any, colour: str, line: str, label: str) -> None:
    """Mean and interval over seeds."""
    values = np.array(curves, float)
    means, halves = np.array([mean_interval(column) for column in values.T]).T
    marks: dict[str, Any] = {"marker": "." if line != ":" else "", "markersize": 4}
    axes.plot(x, means, line, color=colour, linewidth=1.2, label=label, **marks)
    axes.fill_between(x, means - halves, means + halves, color=colour, alpha=0.12)


def _scale(axes: Axes) -> None:
    """A logarithmic axis where values differ much; 0, of weights that are 0, lies at its foot."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    there = values[np.isfinite(values) & (values > 0)]
    if len(there) and there.max() > LARGEST_RATIO * there.min():
        axes.set_yscale("symlog", linthresh=1.0)
