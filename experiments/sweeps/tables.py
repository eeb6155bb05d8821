"""Results as rows: one per run and seed, or one per run; as CSV."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.sweeps.points import Point

Row = dict[str, Any]


def mean_row(point: Point) -> Row:
    """A finished point: its fields, and every metric with its interval, on and off."""
    result = point.result()
    row = dict(point.chosen) | {
        "seed": result["seed"],
        "num_seeds": len(result.get("seeds", [None])),
        "train_episodes": result["train_episodes"],
    }
    for part, suffix in (("metrics", ""), ("metrics_plasticity_off", "_off")):
        for name, told in result[part].items():
            row |= {f"{name}{suffix}": told["mean"], f"{name}{suffix}_ci95": told["ci95"]}
    return row


def seed_rows(result: Mapping[str, Any], labels: Mapping[str, Any]) -> list[Row]:
    """A finished run as one row per seed: labels, `seed`, and means over episodes, on and off.

    `diverged_after`, only of a seed that diverged: its last good step, to which its means belong.
    """
    seeds = result.get("seeds") or [result]
    return [
        dict(labels) | _known(record, "seed", "diverged_after") | _means(record) for record in seeds
    ]


def _known(record: Mapping[str, Any], *names: str) -> Row:
    return {name: record[name] for name in names if name in record}


def _means(record: Mapping[str, Any]) -> Row:
    on = {name: told["mean"] for name, told in record["metrics"].items()}
    off = {f"{n}_off": told["mean"] for n, told in record["metrics_plasticity_off"].items()}
    return on | off


def write_csv(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes rows, which may differ in their fields."""
    fields = list(dict.fromkeys(field for row in rows for field in row))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, fields)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(file.getvalue().encode())
