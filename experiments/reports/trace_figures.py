"""Figures of an analysis: when a net writes, and what becomes of it if it may not."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.reports.collect import Run
from experiments.reports.figures import WIDTH, style, words
from experiments.reports.statistics import interval

LAYERS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
EVENTS = ["#56B4E9", "#EEEEEE", "#F0E442", "#CC79A7"]


def modulation(run: Run) -> Figure:
    """Rates and sizes of writes over an episode, above what happens; the untrained net dotted."""
    assert run.analysis is not None
    seeds, events = run.analysis["seeds"], run.analysis["events"]
    figure, grid = plt.subplots(3, 1, figsize=(WIDTH, 3.6), sharex=True, height_ratios=[4, 4, 0.5])
    for axes, kind, label in (
        (grid[0], "rates", "rate $\\eta_t$"),
        (grid[1], "sizes", "write $\\|\\eta\\alpha\\delta\\|$"),
    ):
        for index, layer in enumerate(seeds[0][kind]):
            # What is not finite is null in the file.
            trained = np.array([seed[kind][layer] for seed in seeds], float)
            before = np.array([seed["untrained"][kind][layer] for seed in seeds], float)
            colour = LAYERS[index % len(LAYERS)]
            _band(axes, trained, colour, "-", layer)
            _band(axes, before, colour, ":", "")
        axes.set_ylabel(label)
    grid[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=7)
    _raster(grid[2], events)
    return figure


def _band(axes: Axes, values: np.ndarray, colour: str, line: str, label: str) -> None:
    steps = np.arange(values.shape[1])
    told = np.array([interval(column) for column in values.T])
    axes.plot(steps, told[:, 0], line, color=colour, linewidth=1.2, label=label)
    axes.fill_between(
        steps, told[:, 0] - told[:, 1], told[:, 0] + told[:, 1], color=colour, alpha=0.12
    )


def _raster(axes: Axes, events: Sequence[str]) -> None:
    kinds = list(dict.fromkeys(events))
    for step, event in enumerate(events):
        axes.axvspan(step - 0.5, step + 0.5, color=EVENTS[kinds.index(event) % len(EVENTS)])
    for kind in kinds:
        steps = [i for i, event in enumerate(events) if event == kind]
        axes.text(np.mean(steps), 0.5, kind, ha="center", va="center", fontsize=7)
    axes.set(yticks=[], xlabel="step of the episode", xlim=(-0.5, len(events) - 0.5), ylim=(0, 1))


def interventions(run: Run) -> Figure:
    """The main metric when writes are silenced in a layer, at an event, or held constant."""
    assert run.analysis is not None
    metrics = [seed["metrics"] for seed in run.analysis["seeds"]]
    prefix = f"{run.metric}_"
    names = [n for n in metrics[0] if n.startswith((f"{prefix}silent", f"{prefix}held"))]
    told = {"as trained": run.values(), "plasticity off": run.values(False)}
    for name in names:
        short = name.removeprefix(prefix).replace("silent_", "no writes: ").replace("_", " ")
        told[short] = [seed[name] for seed in metrics if seed[name] is not None]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.6 + 0.24 * len(told)))
    colour, marker = style(run.rule)
    for place, values in enumerate(told.values()):
        if not values:
            continue
        mean, half = interval(values)
        axes.errorbar(mean, place, xerr=half, fmt=marker, color=colour, capsize=2)
        axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.35, markersize=4)
    axes.set_yticks(range(len(told)), list(told))
    axes.invert_yaxis()
    axes.set_xlabel(words(run.metric))
    return figure
