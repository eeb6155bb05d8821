"""Figures of an analysis: when a net writes, and its score when writes are suppressed."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plasticity.experiments.reports import figures
from plasticity.experiments.reports.labels import drawable, metric_label
from plasticity.experiments.reports.runs import Run
from plasticity.experiments.run.intervals import mean_interval

LAYERS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
EVENTS = ["#56B4E9", "#EEEEEE", "#F0E442", "#CC79A7"]
LABELS = {"rates": r"rate $\eta_t$", "sizes": r"write $\|\eta\alpha\delta\|$"}


def modulation(run: Run) -> Figure:
    """Rates and sizes of writes over an episode, above its events; the untrained net is dotted."""
    assert run.analysis is not None
    seeds, events = run.analysis["seeds"], run.analysis["events"]
    figure = Figure((figures.WIDTH, 3.6))
    grid = figure.subplots(3, 1, sharex=True, height_ratios=[4, 4, 0.5])
    for axes, (kind, label) in zip(grid, LABELS.items(), strict=False):
        for index, layer in enumerate(run.analysis["layers"]):
            colour, before = LAYERS[index % len(LAYERS)], [seed["untrained"] for seed in seeds]
            _band(axes, [seed[kind][layer] for seed in seeds], colour, "-", drawable(layer))
            _band(axes, [seed[kind][layer] for seed in before], colour, ":", "")
        axes.set_ylabel(label)
    grid[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    _event_bar(grid[2], events)
    return figure


def _band(axes: Axes, rows: Sequence, colour: str, line: str, label: str) -> None:
    values = np.array(rows, float)  # null, which is not finite, becomes nan
    steps = np.arange(values.shape[1])
    means, halves = np.array([mean_interval(column) for column in values.T]).T
    axes.plot(steps, means, line, color=colour, linewidth=1.2, label=label)
    axes.fill_between(steps, means - halves, means + halves, color=colour, alpha=0.12)


def _event_bar(axes: Axes, events: Sequence[str]) -> None:
    kinds = list(dict.fromkeys(events))
    for step, event in enumerate(events):
        axes.axvspan(step - 0.5, step + 0.5, color=EVENTS[kinds.index(event) % len(EVENTS)])
    for kind in kinds:
        steps = [i for i, event in enumerate(events) if event == kind]
        axes.text(np.mean(steps), 0.5, drawable(kind), ha="center", va="center", fontsize=8)
    axes.set(yticks=[], xlabel="step of the episode", xlim=(-0.5, len(events) - 0.5), ylim=(0, 1))
    figures.integer_steps(axes)


def interventions(run: Run) -> Figure:
    """The headline metric when writes are suppressed in a layer or at an event, or constant."""
    assert run.analysis is not None
    metrics, prefix = [seed["metrics"] for seed in run.analysis["seeds"]], f"{run.metric}_"
    found = {"as trained": run.values(), "plasticity off": run.values(False)}
    for name in dict.fromkeys(name for seed in metrics for name in seed):
        if name.startswith((f"{prefix}silent", f"{prefix}held")):
            title = name.removeprefix(prefix).replace("silent_", "no writes: ").replace("_", " ")
            title = "constant rate" if title == "held" else title
            found[title] = [seed[name] for seed in metrics if name in seed]
    figure, ((axes, places),) = figures.strips([list(found)])
    colour, marker = figures.style(run.rule)
    for place, values in zip(places, found.values(), strict=True):
        mean, half = mean_interval(values)
        axes.errorbar(mean, place, xerr=half, fmt=marker, color=colour, capsize=2)
        axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.35, markersize=4)
    figures.bound(axes, run.metric, "x")
    axes.set_xlabel(metric_label(run.metric))
    return figure
