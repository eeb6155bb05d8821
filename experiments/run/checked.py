"""Checked reading of JSON files that were written by a run, any of which may be damaged."""

import json
import pathlib
import reprlib
from collections.abc import Callable
from typing import Any

from experiments.run.storage import DamagedFileError

LARGEST = 1e100  # of a number: its square, too, is finite
NAMES = {float: "a finite number", int: "an integer", str: "a string", dict: "an object"}


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def check(path: pathlib.Path, value: Any, schema: Any, field: str = "") -> None:
    """Checks a JSON value against a schema.

    Args:
      path: of the file that holds it. field: where in the file, for the message.
      schema: a type, of which `float` stands for any finite number; {field: its schema} of an
        object, which may have other fields; or [the schema of every element].

    Raises:
      DamagedFileError: it does not fit; the message names the file, the field and the value.
    """
    kind = type(schema) if isinstance(schema, dict | list) else schema
    if not (is_number(value) if kind is float else isinstance(value, kind)):
        where = f"{path}: {field}=" if field else f"{path} holds "
        raise DamagedFileError(f"{where}{reprlib.repr(value)}, not {NAMES.get(kind, 'a list')}")
    if isinstance(schema, dict):
        for name, own in schema.items():
            whole = f"{field}.{name}" if field else name
            if name not in value:
                raise DamagedFileError(f"{path} has no field {whole!r}")
            check(path, value[name], own, whole)
    elif isinstance(schema, list):
        for index, element in enumerate(value):
            check(path, element, schema[0], f"{field}[{index}]")


def read(path: pathlib.Path, schema: Any, parse: Callable[[str], Any] = json.loads) -> Any:
    """The JSON value in a file, checked against a schema.

    Raises:
      DamagedFileError: the file cannot be read, or its value does not fit.
    """
    try:
        value = parse(path.read_text())
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} cannot be read: {error}") from error
    check(path, value, schema)
    return value
