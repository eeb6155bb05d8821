"""Tables in files. A table replaces an older one without loss.

An older table is overwritten only by one that has all of its rows. Otherwise it is renamed: a table
of 71 points, with which a launch of 3 of them would replace it, becomes `results.csv.kept-1`.
"""

import collections
import csv
import io
import itertools
import pathlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from plasticity.experiments.run.checked import read
from plasticity.experiments.run.storage import DamagedFileError, write_json, write_text
from plasticity.experiments.sweeps.tables import Row, columns

# What tells a row of a table from all others. None: nothing is lost with it. It raises KeyError for
# a row that lacks what every row of such a table has.
Identity = Callable[[Row], Hashable]
FOREIGN = "was not written by this program"


def by_fields(required: Iterable[str], further: Iterable[str] = ()) -> Identity:
    """The identity of rows by their fields, as text; `further` ones may be missing."""
    required, further = tuple(required), tuple(further)

    def identity(row: Row) -> tuple[str, ...]:
        values = [row[field] for field in required] + [row.get(field) for field in further]
        return tuple("" if value is None else str(value) for value in values)

    return identity


def write_csv(path: pathlib.Path, rows: Sequence[Row], identity: Identity | None = None) -> None:
    """Writes rows, which may differ in their fields; the file is whole at any moment.

    What is there is kept under another name, if it is no such table or has rows that are not here;
    without an identity, any file is replaced.
    """
    fields = columns(rows)
    _make_room(path, rows, identity)
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, fields)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, file.getvalue())


def write_value(
    path: pathlib.Path, value: Any, rows: Sequence[Row] = (), identity: Identity | None = None
) -> None:
    """Writes a JSON file, which has these rows; otherwise as `write_csv`."""
    _make_room(path, rows, identity)
    write_json(path, value)


def _make_room(path: pathlib.Path, rows: Sequence[Row], identity: Identity | None) -> None:
    """Renames what is no such table, or has rows that are not among `rows`."""
    if not path.exists():
        return
    if identity is None:
        if not path.is_file():
            set_aside(path)
        return
    blank = dict.fromkeys(columns(rows))  # in a CSV file, all rows have all fields
    try:
        stored = collections.Counter(map(identity, _stored(path, identity)))
    except (DamagedFileError, AttributeError, KeyError, OSError, TypeError, ValueError, csv.Error):
        set_aside(path)
        return
    lost = stored - collections.Counter(identity(blank | row) for row in rows)
    lost.pop(None, None)
    if lost:
        set_aside(path, f"has {lost.total()} rows that the new table lacks")


def _stored(path: pathlib.Path, identity: Identity) -> list[Row]:
    """The rows of a CSV file, or of a JSON file that is a list or has a list `rows`."""
    if path.suffix != ".json":
        with path.open(newline="") as file:
            table = csv.DictReader(file)
            if table.fieldnames:  # also where there are no rows
                identity(dict.fromkeys(table.fieldnames))
            return list(table)
    value = read(path, object)
    return value["rows"] if isinstance(value, dict) else value


def set_aside(path: pathlib.Path, why: str = FOREIGN) -> None:
    """Renames what stands in place of a table, and says so."""
    names = (path.with_name(f"{path.name}.kept-{count}") for count in itertools.count(1))
    free = next(name for name in names if not name.exists())
    path.rename(free)
    print(f"{path} {why}: kept as {free}", flush=True)
