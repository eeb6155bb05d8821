"""Figures of series: numbered metrics, as position_1 to position_6; streams; conditioning."""

import collections
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from plasticity.experiments.probing.designs import EFFECTS
from plasticity.experiments.reports import figures, labels
from plasticity.experiments.reports.labels import field_label, varied_within_rules
from plasticity.experiments.reports.runs import MANIFEST, Run
from plasticity.experiments.run.result import PARTS

NUMBERED = re.compile(r"(.+)_(\d+)")
FEWEST = 3  # metrics of a family
# Curves of conditioning: ((design, cue), how it is drawn).
COURSES = [
    (EFFECTS["extinction"].test, {"color": "#0072B2", "label": "extinction: A"}),
    (EFFECTS["blocking"].test, {"color": "#D55E00", "label": "blocking: B"}),
    (EFFECTS["blocking"].control, {"color": "#D55E00", "linestyle": ":", "label": "control: B"}),
]
CURVES = {design: [[float]] for (design, _), _ in COURSES}  # V [trials, cues]
RULE = {"effects": {str: {"shows": bool}}, "V": CURVES}
CONDITIONING = {"launch": MANIFEST, "cues": [str], "rules": {str: RULE}}  # schema of the file


def families(runs: Sequence[Run]) -> dict[str, list[int]]:
    """{name: numbers} of the metrics NAME_NUMBER of runs, where there are at least three."""
    found: dict[str, set[int]] = collections.defaultdict(set)
    for name in {name for run in runs for seed in run.seeds for name in seed[PARTS[""]]}:
        if match := NUMBERED.fullmatch(name):
            found[match[1]].add(int(match[2]))
    return {name: sorted(own) for name, own in sorted(found.items()) if len(own) >= FEWEST}


def family(runs: Sequence[Run], name: str, numbers: Sequence[int]) -> Figure:
    """The metrics NAME_NUMBER over the numbers, on and off, with intervals; a panel per variant."""
    figure, panels = figures.variants(runs, varied_within_rules(runs))
    for axes, own in panels:
        for run, on in ((one, on) for one in own for on in one.switched):
            known = [run.interval(on, f"{name}_{number}") for number in numbers]
            means, halves = np.array(known).T
            colour, marker = figures.style(run.rule)
            line = {"linestyle": "-" if on else "--", "markerfacecolor": colour if on else "white"}
            axes.plot(numbers, means, color=colour, marker=marker, markersize=4, **line)
            axes.fill_between(numbers, means - halves, means + halves, color=colour, alpha=0.15)
        axes.set_xlabel(field_label(name))
        figures.integer_steps(axes)
    figures.bound(panels[0][0], runs[0].metric)
    figures.legend(figure, runs, "-", but=("chance",))
    return figure


def matrices(runs: Sequence[Run]) -> Figure | None:
    """The accuracy on every task of a stream after each of them, mean over seeds: a panel per run.

    None: the runs are of no stream.
    """
    learned = [run for run in runs if all("stream" in seed for seed in run.seeds)]
    if not learned:
        return None
    there, learned = len(learned), learned[: figures.PANELS]
    titles = labels.rule_and_variant(learned)
    figure, grid = figures.grid(titles, 1.6, "tasks learned")
    figures.say_left_out(figure, len(learned), there)
    for axes, run in zip(grid, learned, strict=True):
        mean = np.mean([seed["stream"] for seed in run.seeds], axis=0)
        tasks = mean.shape[1]
        edges = (0.5, tasks + 0.5, tasks + 0.5, -0.5)
        axes.imshow(mean, cmap="cividis", vmin=0, vmax=1, aspect="auto", extent=edges)
        axes.set_xlabel("task")
        figures.integer_steps(axes)
    return figure


def conditioning(content: Mapping[str, Any]) -> Figure:
    """V over trials: extinction, and blocking beside its control; a panel for each rule."""
    rules = content["rules"]
    figure, grid = figures.grid(rules, 1.5, "V")
    for axes, record in zip(grid, rules.values(), strict=True):
        for (design, cue), drawn in COURSES:
            answers = np.array(record["V"][design], float)[:, content["cues"].index(cue)]
            axes.plot(answers, **drawn)
        axes.axhline(1, color="#cccccc", linewidth=0.8, zorder=0)
        axes.set(ylim=(-0.2, 2), xlabel="trial")
    handles, _ = grid[0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False)
    return figure
