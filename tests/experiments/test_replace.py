"""A table replaces an older one only if nothing is lost."""

import csv
import json

import pytest

from plasticity.experiments import reproduce
from plasticity.experiments.sweeps.campaign import IDENTITY
from plasticity.experiments.sweeps.replace import by_fields, write_csv, write_value

ROWS = [
    {"study": "one", "task": "copying", "point": "a", "seed": 0, "loss": 1.5},
    {"study": "one", "task": "copying", "point": "a", "seed": 1, "loss": 1e-5},
    {"study": "probe", "task": "recall", "seed": 0, "mse": None},
]


def kept(path):
    return sorted(file.name for file in path.parent.iterdir() if ".kept-" in file.name)


def test_more_rows_replace_a_table(tmp_path):
    """Also rows of other metrics, in another order, or one that was empty."""
    path = tmp_path / "results.csv"
    path.touch()
    for rows in (ROWS[:1], ROWS[:2], ROWS, [row | {"new": 1} for row in ROWS[::-1]]):
        write_csv(path, rows, IDENTITY)
        assert kept(path) == []
    with path.open(newline="") as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["0", "1", "0"]


@pytest.mark.parametrize("fewer", [ROWS[:2], ROWS[1:], [ROWS[0], {**ROWS[1], "point": "b"}], []])
def test_a_table_that_would_lose_rows_is_kept(fewer, tmp_path, capsys):
    table, value = tmp_path / "results.csv", tmp_path / "results.json"
    write_csv(table, ROWS, IDENTITY)
    write_value(value, {"rows": ROWS}, ROWS, IDENTITY)
    before = table.read_text(), value.read_text()
    write_csv(table, fewer, IDENTITY)
    write_value(value, {"rows": fewer}, fewer, IDENTITY)
    assert kept(table) == ["results.csv.kept-1", "results.json.kept-1"]
    assert tuple((tmp_path / name).read_text() for name in kept(table)) == before
    assert json.loads(value.read_text())["rows"] == fewer
    lost = len(ROWS) - len([row for row in fewer if row in ROWS])
    assert capsys.readouterr().out.count(f"has {lost} rows that the new table lacks") == 2


def test_the_table_of_a_sweep_over_other_fields_is_kept(tmp_path):
    path = tmp_path / "results.csv"
    write_csv(path, [{"rule.name": "hebbian", "seed": 0}], by_fields(["rule.name", "seed"]))
    write_csv(path, [{"rule.eta0": 0.1, "seed": 0}], by_fields(["rule.eta0", "seed"]))
    assert kept(path) == ["results.csv.kept-1"]


@pytest.mark.parametrize(
    "text", ["seed,comment\n0,mine\n", "[3]", '{"rows": 3}', '{"a": 1}', "3", "\0", "\xff"]
)
@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_other_files_of_that_name_are_kept(suffix, text, tmp_path, capsys):
    path = tmp_path / f"results.{suffix}"
    path.write_text(text, encoding="latin-1")
    if suffix == "csv":
        write_csv(path, ROWS, IDENTITY)
    else:
        write_value(path, {"rows": ROWS}, ROWS, IDENTITY)
    (name,) = kept(path)
    assert (tmp_path / name).read_text(encoding="latin-1") == text
    assert "not written by this program" in capsys.readouterr().out


def test_a_verdict_is_not_replaced_by_none(tmp_path):
    path = tmp_path / "verdicts.json"
    claims = [{"name": name, "verdict": "supported"} for name in "ab"]
    undecided = [{**claims[0], "verdict": "undecided"}, claims[1]]
    none = [{**claims[0], "verdict": "no evidence"}, claims[1]]
    for verdicts, count in ((none, 0), (claims, 0), (undecided, 0), (none, 1)):
        write_value(path, verdicts, verdicts, reproduce._decided)
        assert len(kept(path)) == count
