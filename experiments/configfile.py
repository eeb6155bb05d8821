"""Config files: Python modules whose function `get_config` returns a ConfigDict.

The one place that loads them, and that sets a field from the text of a command line.
"""

import ast
import contextlib
import dataclasses
import difflib
import functools
import importlib.util
import inspect
import math
import pathlib
import reprlib
import traceback
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from experiments.validate import ConfigError
from plasticity.model import BACKBONES
from plasticity.tasks import TASKS

EXAMPLE = "--config=configs/copying.py:hebbian"
# Fields on which others depend: their values, and what chooses them.
CHOSEN_BY = {
    "model.name": (BACKBONES, "choose the model by --config=FILE.py:MODEL/RULE"),
    "task.name": (TASKS, "every task has its own file in configs/"),
}


@functools.cache
def config_module(file: str) -> ModuleType:
    """The module in a config file.

    Raises:
      ConfigError: there is no such Python file, or running it raises an error.
    """
    path = pathlib.Path(file).expanduser()
    if path.suffix != ".py" or not path.is_file():
        what = "is not a Python file" if path.exists() else "does not exist"
        here = "" if path.is_absolute() else f" (looked for in {pathlib.Path.cwd()})"
        raise ConfigError(f"--config={file} {what}{here}. {_files_beside(path)}")
    spec = importlib.util.spec_from_file_location("config_file", path)
    assert spec is not None
    assert spec.loader is not None  # a .py file always has one
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"--config={file}: {_described(error, path)}") from error
    return module


def load_config(file: str, argument: str | None = None) -> ConfigDict:
    """The config of --config=FILE:ARGUMENT; None: nothing follows the colon.

    References between fields stay references. NumPy scalars become Python numbers.

    Raises:
      ConfigError: the file is no config file, raises an error, takes no such argument, or returns
        something other than a config.
    """
    given = f"--config={file}" if argument is None else f"--config={file}:{argument}"
    arguments = () if argument is None else (argument,)
    path = pathlib.Path(file).expanduser()
    get_config = getattr(config_module(file), "get_config", None)
    if not callable(get_config):
        raise ConfigError(
            f"{given} has no function get_config, so it is not a config file. {_files_beside(path)}"
        )
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        what = "takes no argument: leave out the colon" if arguments else "needs FILE.py:ARGUMENT"
        raise ConfigError(f"{given}: get_config {what} ({error})") from error
    try:
        config = get_config(*arguments)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{given}: {_described(error, path)}") from error
    if not isinstance(config, ConfigDict) or isinstance(config, FrozenConfigDict):
        kind = type(config).__name__
        raise ConfigError(f"{given}: get_config returned a {kind}; it must return a ConfigDict")
    if "task" not in config:
        raise ConfigError(
            f"{given}: the config has no section `task`. A config adds one to the defaults of "
            "configs/base.py, as configs/copying.py does"
        )
    _numpy_to_python(config)
    return config


def fields_of(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every field; a reference to another field stays a reference."""
    for name, value in config.items(preserve_field_references=True):
        if isinstance(value, ConfigDict):
            yield from fields_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def section_of(config: ConfigDict, field: str) -> ConfigDict:
    """The section of a dotted field.

    Raises:
      ConfigError: the config has no such field, or it is a section itself.
    """
    known = [name for name, _ in fields_of(config)]
    inside = [name for name in known if name.startswith(f"{field}.")]
    if inside:
        raise ConfigError(
            f"config.{field} is a section: set one of its fields, {', '.join(inside)}"
        )
    if field not in known:
        above = next((name for name in known if field.startswith(f"{name}.")), None)
        if above:
            raise ConfigError(f"config.{field} is not a field, but config.{above} is one")
        raise ConfigError(_unknown_field(field, known))
    for part in field.split(".")[:-1]:
        config = config[part]
    return config


def set_field(config: ConfigDict, field: str, text: str | None) -> None:
    """Sets a dotted field from the text of --config.FIELD=TEXT; None: a flag without a value.

    Raises:
      ConfigError: there is no such field, or its type does not admit the text.
    """
    section, name = section_of(config, field), field.rpartition(".")[2]
    value = parse_value(field, text, section.get_type(name))
    known, how = CHOSEN_BY.get(field, ((), ""))
    if value in known and value != section[name]:
        raise ConfigError(f"config.{field}={value} is not set by a flag: {how}")
    section[name] = value


def parse_value(field: str, text: str | None, kind: type) -> Any:
    """The value of a field of type `kind` that a text stands for.

    Raises:
      ConfigError: it stands for none; the message names the field, the text and an example.
    """
    if text is None and kind is not bool:
        raise ConfigError(f"config.{field} has no value: write --config.{field}=VALUE")
    reader, wanted, example = READERS.get(kind, (ast.literal_eval, f"a {kind.__name__}", None))
    try:
        value = reader("true" if text is None else text)
        if kind in READERS or isinstance(value, kind):
            return value
    except (ValueError, SyntaxError, KeyError, MemoryError, RecursionError):
        pass
    with contextlib.suppress(ValueError, OverflowError):  # 1e4 and 64.0 are whole numbers
        example = str(int(float(text or ""))) if kind is int else example
    hint = f", for example {example}" if example else ""
    raise ConfigError(f"{field}={reprlib.repr(text)} must be {wanted}{hint}")


def _finite_text(text: str) -> float:
    value = float(text)
    if math.isinf(value) and "inf" not in text.lower():
        raise ValueError("larger than the largest float")
    return value


_TRUTH = {"true": True, "1": True, "false": False, "0": False}
READERS: dict[type, tuple[Any, str, str]] = {
    bool: (lambda text: _TRUTH[text.lower()], "true or false", ""),
    int: (int, "an integer", "64"),
    float: (_finite_text, "a number", "0.001"),
    str: (str, "a text", ""),
}


def suggestion(field: str, known: Iterable[str]) -> str:
    """The dotted field that a user may have meant; "": none is near."""
    section, _, name = field.rpartition(".")
    by_name: dict[str, str] = {}
    # A field of the same section is the likelier one: `train.batchsize` is not evaluate.batch.
    for other in sorted(known, key=lambda other: other.rpartition(".")[0] != section):
        by_name.setdefault(other.rpartition(".")[2], other)
    initials = {"".join(word[0] for word in last.split("_")): last for last in reversed(by_name)}
    close = difflib.get_close_matches(name, by_name, n=1, cutoff=0.65)
    meant = name if name in by_name else initials.get(name) or next(iter(close), None)
    return by_name[meant] if meant else ""


def _unknown_field(field: str, known: list[str]) -> str:
    """The message about a field that the config does not have."""
    message = f"config.{field} is not a field of this config: "
    if near := suggestion(field, known):
        return f"{message}did you mean config.{near}?"
    section, _, name = field.rpartition(".")
    for model, (_, settings) in BACKBONES.items():
        if section == "model" and name in {f.name for f in dataclasses.fields(settings)}:
            return f"{message}it is one of model.name={model!r}, --config=FILE.py:{model}/RULE"
    beside = [other for other in known if section and other.rpartition(".")[0] == section]
    sections = dict.fromkeys(other.partition(".")[0] for other in known)
    return message + (f"valid: {', '.join(beside)}" if beside else f"valid: {', '.join(sections)}")


def _numpy_to_python(config: ConfigDict) -> None:
    for field, value in list(fields_of(config)):
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            section, name = section_of(config, field), field.rpartition(".")[2]
            with section.unlocked(), section.ignore_type():
                section[name] = value.item()


def _described(error: BaseException, path: pathlib.Path) -> str:
    """An error that a config file raised, in one line, with the number of the file's line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if pathlib.Path(frame.filename) == path]
    if type(error) is ValueError and pathlib.Path(frames[-1].filename) != path:
        return str(error)  # of the project's own checks: the message names the field
    syntax = isinstance(error, SyntaxError)
    line = error.lineno if syntax else next(reversed(own), None)
    text = error.msg if syntax else " ".join(str(error).split())[:200]
    return f"{f'line {line}: ' if line else ''}{type(error).__name__}: {text}"


def _files_beside(path: pathlib.Path) -> str:
    """A hint: the config file with the nearest name, or all there are."""
    folder = path.parent if any(path.parent.glob("*.py")) else pathlib.Path("configs")
    there = [file for file in sorted(folder.glob("*.py")) if "def get_config" in file.read_text()]
    if not there:
        return f"An example, in the folder of the project: {EXAMPLE}"
    close = difflib.get_close_matches(path.stem, [file.stem for file in there], n=1, cutoff=0.7)
    if close:
        return f"Did you mean {folder / close[0]}.py?"
    return f"Config files: {', '.join(map(str, there))}"
