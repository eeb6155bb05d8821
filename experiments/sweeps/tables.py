"""Results as rows: one per run and seed, or one per run; as CSV, or for the terminal."""

import csv
import io
import itertools
import math
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.run.storage import DamagedFileError, write_text
from experiments.sweeps.points import Point

Row = dict[str, Any]
PARTS = {"": "metrics", "_off": "metrics_plasticity_off"}  # {suffix of a column: field of a result}
MOST_LINES = 60


class PointRows(NamedTuple):
    """The result of a point.

    metric: the headline metric. shown: its value, with plasticity on and off. chosen: of the point.
    mean: the chosen fields, and every metric with its interval, on and off. seeds: see `seed_rows`.
    """

    metric: str
    shown: tuple[str, str]
    chosen: Row
    mean: Row
    seeds: list[Row]


def rows_of(point: Point) -> PointRows:
    """The rows of a complete point.

    Raises:
      DamagedFileError: its result.json holds something else than the result of a run.
    """
    result = point.result()
    try:
        mean = {
            "seed": result["seed"],
            "num_seeds": len(result.get("seeds", [None])),
            "train_episodes": result["train_episodes"],
        }
        for suffix, part in PARTS.items():
            for name, value in result[part].items():
                mean |= {f"{name}{suffix}": value["mean"], f"{name}{suffix}_ci95": value["ci95"]}
        metric = result.get("main_metric", "loss")
        on, off = (_number(result[part][metric]) for part in PARTS.values())
        chosen = dict(point.chosen)
        return PointRows(
            metric,
            (on, "same" if on == off else off),
            chosen,
            chosen | mean,
            seed_rows(result, chosen),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = point.workdir / "result.json"
        raise DamagedFileError(f"{path} is not the result of a run: {error!r}") from error


def seed_rows(result: Mapping[str, Any], labels: Mapping[str, Any]) -> list[Row]:
    """A finished run as one row per seed: labels, `seed`, and means over episodes, on and off.

    `diverged_after` is only of a seed that diverged: its last good step, to which its means belong.
    """
    return [
        dict(labels)
        | {name: record[name] for name in ("seed", "diverged_after") if name in record}
        | {
            f"{n}{suffix}": v["mean"]
            for suffix, part in PARTS.items()
            for n, v in record[part].items()
        }
        for record in result.get("seeds") or [result]
    ]


def _number(value: Mapping[str, float]) -> str:
    interval = f" +- {value['ci95']:.2g}" if math.isfinite(value["ci95"]) else ""
    return f"{value['mean']:.3g}{interval}"


def summary(results: Iterable[PointRows]) -> str:
    """A table for the terminal, a line per point; several, if headline metrics differ."""
    metrics: dict[str, list[PointRows]] = {}
    for one in results:
        metrics.setdefault(one.metric, []).append(one)
    return "\n".join(line for metric, own in metrics.items() for line in _lines(metric, own))


def _lines(metric: str, results: Sequence[PointRows]) -> list[str]:
    fields = list(dict.fromkeys(field for one in results for field in one.chosen))
    cells = [[metric, "plasticity off", *fields]] + [
        [*one.shown, *(str(one.chosen.get(field, "")) for field in fields)]
        for one in results[:MOST_LINES]
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    width = shutil.get_terminal_size((120, 24)).columns
    lines = [
        "  ".join(text.ljust(wide) for text, wide in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    more = len(results) - MOST_LINES
    cut = [line if len(line) <= width else f"{line[: width - 3]}..." for line in lines]
    return [*cut, f"... and {more} more points"] if more > 0 else cut


def write_csv(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes rows, which may differ in their fields; the file is whole at any moment.

    What is there, but has none of their fields, is kept under another name.
    """
    fields = list(dict.fromkeys(field for row in rows for field in row))
    try:
        with path.open(newline="") as there:
            own = bool(set(next(csv.reader(there), fields)) & set(fields))
    except FileNotFoundError:
        own = True
    except (OSError, ValueError, csv.Error):
        own = False
    if not own:
        set_aside(path)
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, fields)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, file.getvalue())


def set_aside(path: pathlib.Path) -> None:
    """Renames what stands in place of a table, and says so."""
    names = (path.with_name(f"{path.name}.damaged-{count}") for count in itertools.count(1))
    free = next(name for name in names if not name.exists())
    path.rename(free)
    print(f"{path} was not written by this program: kept as {free}", flush=True)
