"""Config files: Python modules whose function `get_config` returns a ConfigDict.

The one place that loads them, and that sets a field from the text of a command line.
"""

import contextlib
import copy
import difflib
import importlib
import importlib.util
import inspect
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FrozenConfigDict

from plasticity.configs import NAMES, base, fields
from plasticity.experiments.hints import suggestion
from plasticity.experiments.validate import ConfigError
from plasticity.registry import shown
from plasticity.settings import KINDS, literal

EXAMPLE = "--config=copying:hebbian"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # of the project
SHIPPED = pathlib.Path(base.__file__).parent  # the folder of the configs that have a name
OWN = "config file "  # how the names of modules of loaded files start
# The readers of a field's text, by the type of the field; other types are texts.
PARSERS: dict[type, flags.ArgumentParser] = {
    bool: flags.BooleanParser(),
    int: flags.IntegerParser(),
    float: flags.FloatParser(),
}


def file_and_argument(given: str) -> tuple[str, str]:
    """The parts of FILE.py:ARGUMENT or NAME:ARGUMENT; "": nothing follows the colon."""
    # The colon that counts is that behind .py: a folder may have one in its name.
    return re.findall(r"(.+?\.py(?=:|$)|[^:]*):?(.*)", given, re.DOTALL)[0]


def _path(file: str) -> str:
    return str(SHIPPED / f"{file}.py") if file in NAMES else os.path.expanduser(file)


def config_module(file: str) -> ModuleType:
    """The module in a config file, or of a name in `plasticity.configs.NAMES`, executed once.

    Raises:
      ConfigError: there is no such name or Python file, or running it raises an error.
    """
    path = _path(file)
    if not path.endswith(".py") or not os.path.isfile(path):
        what = "is not a Python file" if os.path.exists(path) else "does not exist"
        here = "" if os.path.isabs(path) else f" (looked for in {os.getcwd()})"
        raise ConfigError(f"--config={file} {what}{here}. {_example(path)}")
    return executed(os.path.abspath(path), f"--config={file}")


def executed(source: str, given: str) -> ModuleType:
    """The module in a file, or of a name, executed once; `given` is what says so, for errors.

    Raises:
      ConfigError: executing it raises an error.
    """
    if not source.endswith(".py"):
        with _errors_of(given, source):
            return importlib.import_module(source)
    # A dataclass looks for its own module among those that are imported.
    name = f"{OWN}{source.replace('.', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    assert spec.loader is not None  # a .py file always has one
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with _errors_of(given, source):
            spec.loader.exec_module(module)
    except ConfigError:
        del sys.modules[name]
        raise
    return module


def load_config(file: str, argument: str = "") -> ConfigDict:
    """The config of --config=FILE:ARGUMENT, or NAME:ARGUMENT; "": nothing follows the colon.

    References between fields stay references. NumPy scalars become Python numbers.

    Raises:
      ConfigError: the file is no config file, raises an error, takes no such argument, or returns
        something other than a config.
    """
    given = f"--config={file}:{argument}" if argument else f"--config={file}"
    arguments = (argument,) if argument else ()
    path = _path(file)
    get_config = getattr(config_module(file), "get_config", None)
    if not callable(get_config):
        raise ConfigError(
            f"{given} has no function get_config, so it is not a config file. {_example(path)}"
        )
    try:
        inspect.signature(get_config).bind(*arguments)
    except (TypeError, ValueError) as error:  # ValueError: of a function without a signature
        what = "takes no argument: leave out the colon" if arguments else "needs FILE.py:ARGUMENT"
        raise ConfigError(f"{given}: get_config {what} ({error})") from error
    with _errors_of(given, path):
        config = get_config(*arguments)
        if not isinstance(config, ConfigDict) or isinstance(config, FrozenConfigDict):
            kind = type(config).__name__
            raise ConfigError(f"get_config returned a {kind}; it must return a ConfigDict")
        if "task" not in config:
            raise ConfigError(
                "the config has no section `task`. A config adds one to the defaults of "
                f"plasticity.configs.base, as {SHIPPED / 'copying.py'} does"
            )
        for field, value in list(fields_of(config)):
            if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
                section, name = section_of(config, field), field.rpartition(".")[2]
                with section.unlocked(), section.ignore_type():
                    section[name] = value.item()
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
    if inside := [name for name in known if name.startswith(f"{field}.")]:
        raise ConfigError(
            f"config.{field} is a section: set one of its fields, {', '.join(inside)}"
        )
    if field not in known:
        raise ConfigError(f"config.{field} is not a field of this config: {_hint(field, known)}")
    for part in field.split(".")[:-1]:
        config = config[part]
    return config


def set_field(config: ConfigDict, field: str, text: str | None) -> None:
    """Sets a dotted field from the text of --config.FIELD=TEXT; None: a flag without a value.

    Raises:
      ConfigError: there is no such field, or its type does not admit the text.
    """
    kind = section_of(config, field).get_type(field.rpartition(".")[2])
    if text is None and kind is not bool:
        raise ConfigError(f"config.{field} has no value: write --config.{field}=VALUE")
    put_fields(config, {field: parse_value(field, "true" if text is None else text, kind)})


def put_fields(config: ConfigDict, values: Mapping[str, Any]) -> None:
    """Sets {dotted field: value}. Another name of a rule or optimizer first exchanges its fields.

    Raises:
      ConfigError: there is no such field or rule, or a value is of another type.
    """
    for field, value in sorted(values.items(), key=lambda item: item[0] not in fields.CHOSEN):
        section, name = section_of(config, field), field.rpartition(".")[2]
        try:
            if field in fields.CHOSEN:
                fields.choose(config, field.partition(".")[0], value)
            section[name] = value
        except TypeError as error:
            kind = section.get_type(name).__name__
            raise ConfigError(f"{field}={value!r} must be of type {kind}") from error
        except ValueError as error:
            raise ConfigError(str(error)) from error


def resolved(config: ConfigDict, overrides: Mapping[str, Any]) -> ConfigDict:
    """A copy with {dotted field: value} set, and with values in place of references.

    Raises:
      ConfigError: a field is none of the config, does not admit its value, or still has none.
    """
    config = copy.deepcopy(config)
    put_fields(config, overrides)
    try:
        return config.copy_and_resolve_references()
    except Exception as error:  # of ml_collections, about a required field
        raise ConfigError(str(error)) from error


def parse_value(field: str, text: str, kind: type) -> Any:
    """The value of a field of type `kind` that a text stands for.

    Raises:
      ConfigError: it stands for none; the message names the field, the text and the type.
    """
    if kind not in PARSERS:
        return text
    try:
        return PARSERS[kind].parse(text)
    except ValueError as error:
        wanted = f"{KINDS[kind][0]}{literal(text, kind)}"
        raise ConfigError(f"{field}={shown(text)} must be {wanted}") from error


def _hint(field: str, known: list[str]) -> str:
    """What may have been meant by a field that the config does not have."""
    if under := fields.where(field):
        return f"it is {under}"
    near = f"{field.rpartition('.')[2]}.name"  # train.optimizer is optimizer.name
    if near := near if near in known else suggestion(field, known):
        return f"did you mean config.{near}?"
    section = field.rpartition(".")[0]
    beside = [other for other in known if section and other.rpartition(".")[0] == section]
    return f"valid: {', '.join(beside or dict.fromkeys(k.partition('.')[0] for k in known))}"


@contextlib.contextmanager
def _errors_of(given: str, path: str) -> Iterator[None]:
    """Errors that a config file raises become ConfigErrors with the number of the file's line."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too
        path = os.path.abspath(path)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == path]
        text = " ".join(str(error).split())[:200]
        if isinstance(error, SyntaxError):
            lines, text = [error.lineno], error.msg
        if isinstance(error, ValueError) and frames[-1].filename.startswith(ROOT):
            raise ConfigError(f"{given}: {error}") from error  # of a check, which names the field
        where = f"line {lines[-1]}: " if lines and lines[-1] else ""
        raise ConfigError(f"{given}: {where}{type(error).__name__}: {text}") from error


def _example(path: str) -> str:
    """A hint: the file beside it or the shipped config with the nearest name, or all of these."""
    beside = {file.stem: str(file) for file in pathlib.Path(path).parent.glob("*.py")}
    names = {name: name for name in NAMES} | beside
    close = difflib.get_close_matches(pathlib.Path(path).stem, names, n=1, cutoff=0.7)
    if close and names[close[0]] != path:
        return f"Did you mean {names[close[0]]}?"
    return f"Shipped configs are {', '.join(NAMES)}, as in {EXAMPLE}"
