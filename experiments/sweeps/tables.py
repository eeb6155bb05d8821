"""Results as rows, one per run and seed, or one per run, and as a table for the terminal."""

import importlib.util
import math
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from plasticity.commands import command, install
from plasticity.experiments.run.result import PARTS

Row = dict[str, Any]
MOST_LINES = 60


def columns(rows: Sequence[Row]) -> list[str]:
    """The fields of rows, which may differ in them."""
    return list(dict.fromkeys(field for row in rows for field in row))


def mean_row(chosen: Mapping[str, Any], result: Mapping[str, Any]) -> Row:
    """A run as one row: the chosen fields, and every metric with its interval, on and off."""
    row = {**chosen, "seed": result["seed"], "num_seeds": len(result["seeds"])}
    row["train_episodes"] = result.get("train_episodes")
    for suffix, part in PARTS.items():
        for name, value in result[part].items():
            row |= {f"{name}{suffix}": value["mean"], f"{name}{suffix}_ci95": value["ci95"]}
    return row


def seed_rows(seeds: Sequence[Mapping[str, Any]], labels: Mapping[str, Any]) -> list[Row]:
    """A row per seed of a run: labels, `seed`, and means over episodes, on and off.

    `diverged_after` is only of a seed that diverged: its last good step, to which its means belong;
    `exploded_after` of one that exploded: its last step before. `curriculum_reached` is the last
    value that was passed of a curriculum that is earned.
    """
    rows = []
    for record in seeds:
        known = ("seed", "diverged_after", "exploded_after", "curriculum_reached")
        row = dict(labels) | {k: record[k] for k in known if k in record}
        for suffix, part in PARTS.items():
            row |= {f"{name}{suffix}": value["mean"] for name, value in record[part].items()}
        rows.append(row)
    return rows


def _number(value: Mapping[str, float]) -> str:
    interval = f" +- {value['ci95']:.2g}" if math.isfinite(value["ci95"]) else ""
    return f"{value['mean']:.3g}{interval}"


def summary(results: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """A table for the terminal, a line per point: the headline metric, then the chosen fields.

    Args:
      results: (chosen fields, result) of each point.
    """
    metrics = " or ".join(dict.fromkeys(result["main_metric"] for _, result in results))
    fields = columns([dict(chosen) for chosen, _ in results])
    cells = [[metrics, "plasticity off", *fields]]
    for chosen, result in results[:MOST_LINES]:
        on, off = (result[part][result["main_metric"]] for part in PARTS.values())
        shown = [_number(on), "same" if on == off else _number(off)]
        cells.append(shown + [str(chosen.get(field, "")) for field in fields])
    sizes = [max(map(len, column)) for column in zip(*cells, strict=True)]
    width = shutil.get_terminal_size((120, 24)).columns
    lines = ["  ".join(map(str.ljust, row, sizes)).rstrip() for row in cells]
    cut = [line if len(line) <= width else f"{line[: width - 3]}..." for line in lines]
    more = len(results) - MOST_LINES
    return "\n".join([*cut, f"... and {more} more points"] if more > 0 else cut)


def report_hint(folder: pathlib.Path) -> str:
    """How to draw the runs of a folder."""
    draw = command("report", f"--runs={folder}", f"--out={folder.name}.html")
    has_plots = importlib.util.find_spec("matplotlib") is not None
    return f"figures: {draw}" + ("" if has_plots else f"; first {install('plots')}")
