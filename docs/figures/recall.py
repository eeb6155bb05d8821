"""The first figure: recall over training, with plasticity on, off, and with static weights.

python docs/figures/recall.py [--runs=runs/recall] [--out=docs/figures/recall.svg]

Trains the main job under the rules hebbian and none, with a validation every 20 steps, and draws
what the validations recorded. Runs that are there are opened, or resumed, not trained again. The
two take three minutes of one CPU core. The same runs give the same file. Needs the extra
`plots`.
"""

import argparse
import json
import pathlib

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import plasticity
from plasticity.experiments.reports.figures import SETTINGS

HERE = pathlib.Path(__file__).parent
EVERY = {"evaluate.every": 20}  # steps
HEBBIAN, STATIC = "#0072B2", "#555555"  # as in reports
ON, OFF, NONE = "plasticity on", "same network,\nplasticity off", "static weights"


def curve(run: plasticity.Run, split: str) -> tuple[list[int], list[float]]:
    """The steps and the headline metric of one split of metrics.jsonl."""
    lines = (run.workdir / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == split]
    return [row["step"] for row in rows], [row[run.result["main_metric"]] for row in rows]


def draw(plastic: plasticity.Run, static: plasticity.Run) -> Figure:
    """The three curves and the chance level."""
    figure = Figure((6.4, 3.0))
    axes = figure.subplots()
    axes.plot(*curve(plastic, "validation"), color=HEBBIAN, linewidth=2, label=ON)
    axes.plot(*curve(plastic, "validation_off"), "--", color=HEBBIAN, linewidth=1.5, label=OFF)
    axes.plot(*curve(static, "validation"), color=STATIC, linewidth=1.5, label=NONE)
    axes.axhline(plastic.result["chance"], color="#999999", linestyle=":", label="chance level")
    _describe(axes)
    return figure


def _describe(axes: Axes) -> None:
    axes.set(xlabel="training step", ylabel="symbols recalled", ylim=(0, 1.04), xlim=(0, None))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def main(runs: pathlib.Path, out: pathlib.Path, **overrides: object) -> None:
    """Trains or opens the two runs, and writes the figure."""
    opened = [
        plasticity.train(f"copying:{rule}", runs / rule, EVERY | overrides)
        for rule in ("hebbian", "none")
    ]
    with matplotlib.rc_context(SETTINGS):
        draw(*opened).savefig(out, format="svg", facecolor="white", metadata={"Date": None})
    print(f"written: {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/recall"))
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "recall.svg")
    given = parser.parse_args()
    main(given.runs, given.out)
