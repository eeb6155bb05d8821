"""Checked reading of the JSON files of runs, any of which may be damaged."""

import json
import pathlib
import reprlib
from typing import Any

from plasticity.experiments.run.storage import DamagedFileError

LARGEST = 1e100  # of a number: its square, too, is finite
NAMES = {float: "number", int: "integer", bool: "bool", str: "string", list: "list", dict: "object"}


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def read(path: pathlib.Path, schema: Any) -> Any:
    """The JSON value in a file, checked against a schema (see `check`).

    Raises:
      DamagedFileError: the file cannot be read, is not JSON, or its value does not fit.
    """
    return _value(str(path), _text(path), schema)


def read_lines(path: pathlib.Path, schema: Any) -> list[Any]:
    """The JSON values in a file that holds one a line, such as metrics.jsonl; errors as of `read`.

    A last line without its line break is left out: a kill interrupted its writing.
    """
    lines = _text(path).split("\n")[:-1]
    return [_value(f"{path}, line {i}", line, schema) for i, line in enumerate(lines, 1)]


def _text(path: pathlib.Path) -> str:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            # Reading a named pipe would wait for its writer.
            raise DamagedFileError(f"{path} cannot be read: it is not a regular file")
        return path.read_text()
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DamagedFileError(f"{path} is not UTF-8: {error}") from error


def _value(where: str, text: str, schema: Any) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON: {error}" if text.strip() else "is empty"
        raise DamagedFileError(f"{where} {problem}") from error
    check(where, value, schema)
    return value


def check(where: str | pathlib.Path, value: Any, schema: Any, field: str = "") -> None:
    """Checks a JSON value against a schema.

    Args:
      where: the value is, such as the path of its file.
      schema: a type, of which `float` stands for any number; {field: its schema} of an object,
        which may have other fields, and which all fit the schema of the key `str` if there is one;
        or [the schema of every element]. For example, {"seeds": [{"seed": int, str: float}]}.
      field: of which this is the value, for the message.

    Raises:
      DamagedFileError: it does not fit; the message names the file, the field and the value.
    """
    kind = type(schema) if isinstance(schema, dict | list) else schema
    if not _has_type(value, kind):
        shown = reprlib.repr(value)
        raise DamagedFileError(
            f"{where}: {field}={shown} has the wrong type: it must be of type {NAMES[kind]}"
            if field
            else f"{where} holds no JSON {NAMES[kind]}, but {shown}"
        )
    if isinstance(schema, list):
        for index, element in enumerate(value):
            check(where, element, schema[0], f"{field}[{index}]")
    elif isinstance(schema, dict):
        named = {name: own for name, own in schema.items() if name is not str}
        others = dict.fromkeys(value, schema[str]) if str in schema else {}
        for name, own in (others | named).items():
            whole = f"{field}.{name}" if field else name
            if name not in value:
                raise DamagedFileError(f"{where} has no field {whole!r}")
            check(where, value[name], own, whole)


def _has_type(value: Any, kind: type) -> bool:
    """A bool is no number here, and an integer has at most 64 bits."""
    if kind in (int, float) and isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, kind)
