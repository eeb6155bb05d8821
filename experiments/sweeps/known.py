"""Results that an earlier campaign has gathered: its points are not run again.

A campaign of many hours may be spread over machines that share no disk. Each takes the table of
the one before, `results.csv`, and adds its own runs. The row of a point has its hash: a point whose
config has changed since is another one, and is run.
"""

import csv
import pathlib
from collections.abc import Mapping, Sequence

from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.sweeps.tables import Row

TEXT = ("study", "task", "point")  # such as the hash 1234567890, which is no number
Known = Mapping[tuple[str, str], Sequence[Row]]  # {(study, hash of a point): its rows}


def known_rows(folder: pathlib.Path) -> Known:
    """The rows of all points in the `results.csv` of a folder.

    Raises:
      DamagedFileError: there is no such table, or it is none of `experiments.reproduce`.
    """
    path = folder / "results.csv"
    try:
        with path.open(newline="") as file:
            table = list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"{path} cannot be read: {error}") from error
    if not table or not set(TEXT) <= set(table[0]):
        raise DamagedFileError(f"{path} is no table of results: it needs {', '.join(TEXT)}")
    found: dict[tuple[str, str], list[Row]] = {}
    for number, line in enumerate(table, 2):
        if None in line or None in line.values():
            raise DamagedFileError(f"{path}, line {number} has another number of cells")
        row = {field: _value(field, text) for field, text in line.items() if text}
        if "point" in row:  # untrained memories have none: they are measured again in a minute
            found.setdefault((row.get("study", ""), row["point"]), []).append(row)
    return found


def _value(field: str, text: str) -> object:
    """What `csv` wrote as this text."""
    if field in TEXT:
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)
