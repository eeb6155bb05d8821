"""The command line: its flags, --help and --list, and the config that it gives."""

import dataclasses
import re
import sys
import textwrap
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict

from plasticity.commands import program
from plasticity.configs import NAMES, base
from plasticity.configs.fields import CHOSEN
from plasticity.experiments.configfile import (
    EXAMPLE,
    fields_of,
    file_and_argument,
    load_config,
    resolved,
    set_field,
)
from plasticity.experiments.extend import REGISTRIES
from plasticity.experiments.hints import suggestion
from plasticity.experiments.validate import ConfigError

flags.DEFINE_bool("help", False, "show this text", short_name="h")
flags.DEFINE_bool("helpfull", False, "show this text, and the flags of all libraries")
flags.DEFINE_bool("list", False, "list tasks, rules, engines, models and optimizers")
TITLES = {
    "rule": "Rules, behind the colon of --config",
    "task": "Tasks",
    "model": "Models, as in --config=FILE.py:MODEL/RULE",
    "optimizer": "Optimizers of the outer loop, as --config.optimizer.name",
}
_overrides: list[tuple[str, str | None]] = []  # (FIELD, VALUE) of every --config.FIELD=VALUE


class GivenConfig(NamedTuple):
    """What --config and --config.FIELD=VALUE give."""

    file: str
    argument: str  # what follows the colon; "": nothing
    overrides: dict[str, Any]  # {dotted field: value}
    config: ConfigDict  # with the overrides


def define_config() -> flags.FlagHolder:
    """The flag --config=NAME|FILE.py[:ARGUMENT]; each field is a flag --config.FIELD=VALUE."""
    return flags.DEFINE_multi_string(
        "config", [], f"config file or name, and what its get_config takes: {EXAMPLE}"
    )


def given_config(holder: flags.FlagHolder) -> GivenConfig:
    """What --config and --config.FIELD=VALUE give.

    Raises:
      ConfigError: --config is missing, its file is no config file, or an override does not fit.
    """
    require(config=next(iter(holder.value), None))
    chosen, *others = holder.value
    if any(other != chosen for other in others):
        raise ConfigError(f"--config is given twice: {chosen} and {others[-1]}. Drop one")
    file, argument = file_and_argument(chosen)
    config = load_config(file, argument)
    for field, text in sorted(_overrides, key=lambda given: given[0] not in CHOSEN):
        set_field(config, field, text)
    try:
        config = resolved(config, {})
    except ConfigError as error:  # a field that the file leaves to the command line
        raise ConfigError(f"--config={chosen}: {error}") from error
    values = dict(fields_of(config))
    return GivenConfig(file, argument, {field: values[field] for field, _ in _overrides}, config)


def require(**values: object) -> None:
    """Raises ConfigError unless every flag has a value."""
    for name, value in values.items():
        if value is None or value == "":
            what = f": {_help_of(flags.FLAGS[name])}" if name in flags.FLAGS else ""
            raise ConfigError(f"--{name} is missing{what}. --help shows all flags")
        if str(value).startswith("-"):  # absl takes the next flag for the value
            raise ConfigError(f"--{name} has no value, but is followed by {value}")


def parse(doc: str | None) -> bool:
    """Parses the command line; True if it asks for a text, which is printed.

    Args:
      doc: of the program; None under `python -OO`.

    Raises:
      ConfigError: a flag is unknown, or an argument is no flag.
      flags.Error: the value of a flag is wrong.
    """
    flags.FLAGS.set_gnu_getopt()
    try:
        words = flags.FLAGS.read_flags_from_files(sys.argv)
    except UnicodeError as error:
        raise ConfigError(f"a --flagfile is not UTF-8: {error}") from error
    unknown = flags.FLAGS(words, known_only=True)[1:]
    _overrides.clear()
    while unknown:
        word = unknown.pop(0)
        match = re.fullmatch(r"--?(no)?config\.([^=]*)(?:=(.*))?", word, re.DOTALL)
        if not match or "config" not in flags.FLAGS:
            raise ConfigError(_unknown(word))
        negated, field, value = match.groups()
        if negated and value is not None:
            raise ConfigError(
                f"{word} has a value: write --noconfig.{field} or --config.{field}=VALUE"
            )
        if value is None and not negated and unknown and not unknown[0].startswith("--"):
            value = unknown.pop(0)  # --config.FIELD VALUE
        _overrides.append((field, "false" if negated else value))
    shown = flags.FLAGS.list or flags.FLAGS.help or flags.FLAGS.helpfull
    if shown:
        _shown_config()  # its file may register more than the library has
        print(listing() if flags.FLAGS.list else _help(doc), flush=True)
    if flags.FLAGS.helpfull:
        print(flags.FLAGS.get_help(), flush=True)
    return shown


def listing() -> str:
    """Registries, with the settings and defaults of their entries, configs, and engines."""
    lines = []
    for section, registry in REGISTRIES.items():
        lines.append(f"{TITLES[section]}, and their settings as --config.{section}.NAME:")
        for name, factory in registry.items():
            kind = factory.settings
            defaults = (f"{field.name}={field.default}" for field in dataclasses.fields(kind))
            lines.append(_wrapped(f"{name}: {', '.join(defaults) or 'none'}"))
    lines.append(
        f"Configs, as --config=NAME, beside your own as --config=FILE.py: {', '.join(NAMES)}"
    )
    engines = ", ".join(base.ENGINES)
    lines.append(f"Engines of the fast weights, as --config.memory.engine: {engines}")
    return "\n".join(lines)


def _help(doc: str | None) -> str:
    purpose = re.sub(r"\bexperiments\.", program(""), doc or "").strip()
    parts = [purpose, "\n".join(["Flags:", *map(_flag, _own_flags())]), listing()]
    config = _shown_config()
    if config is not None:
        names = {part: config[part].name for part in base.alternatives() if part in config}
        kinds = [kind for kinds in base.sections(names).values() for kind in kinds]
        about = {field: what for kind in kinds for field, what in kind.describe()}
        shown = (_wrapped(f"{f}={value}: {about.get(f, '?')}") for f, value in fields_of(config))
        title = "Settings as --config.SECTION.NAME=VALUE; those of a config: --config=NAME --help"
        parts.append("\n".join([title, *shown]))
        parts.append(f"Example: {EXAMPLE} --config.model.width=64 --config.train.steps=100")
    return "\n\n".join(parts)


def _flag(flag: flags.Flag) -> str:
    default = f" (default: {flag.default_as_str})" if flag.default not in (None, "", []) else ""
    return _wrapped(f"--{'[no]' if flag.boolean else ''}{flag.name}: {_help_of(flag)}{default}")


def _help_of(flag: flags.Flag) -> str:
    """The help of a flag, without the notes that absl adds to some kinds, and with its choices."""
    choices = getattr(flag.parser, "enum_values", [])
    about = flag.help.removeprefix(f"<{'|'.join(choices)}>: ").partition(";\n")[0]
    return f"{about}: {' or '.join(choices)}" if choices else about


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 100, initial_indent="  ", subsequent_indent="      ")


def _own_flags() -> list[flags.Flag]:
    """The flags of the program and those that all programs share, without those of libraries."""
    modules = flags.FLAGS.flags_by_module_dict()
    own = [
        flag
        for name in (sys.argv[0], "plasticity.experiments.cli", __name__)
        for flag in modules[name]
    ]
    return sorted({flag.name: flag for flag in own}.values(), key=lambda f: f.name != "config")


def _shown_config() -> ConfigDict | None:
    """The config whose settings --help shows; None: the program takes no config."""
    if "config" not in flags.FLAGS:
        return None
    return given_config(flags.FLAGS["config"]).config if flags.FLAGS.config else base.get_config()


def _unknown(word: str) -> str:
    """The message about an argument that is no flag of the program."""
    if not word.startswith("-"):
        return f"unexpected argument {word!r}: values are given as --flag=value"
    name = word.lstrip("-").partition("=")[0]
    own = [flag.name for flag in _own_flags()]
    config = _shown_config()
    fields = [f"config.{field}" for field, _ in fields_of(config)] if config is not None else []
    near = suggestion(name, own) or suggestion(name, fields)
    hint = f"did you mean --{near}?" if near else f"flags: --{', --'.join(own)}"
    return f"unknown flag --{name}: {hint}"


def flag_message(error: flags.Error) -> str:
    """The message about a wrong value; absl's own repeats what Python says of it."""
    match = re.match(r"flag --(\w+)=(.*?): ", str(error), re.DOTALL)
    if not match or match[1] not in flags.FLAGS:
        return str(error)
    name, value = match.groups()
    parser = flags.FLAGS[name].parser
    choices = getattr(parser, "enum_values", [])
    wanted = f"one of {', '.join(choices)}" if choices else parser.syntactic_help
    near = suggestion(value, choices)
    hint = f": did you mean {near!r}?" if near else ""
    return f"--{name}={value} must be {wanted or 'true or false'}{hint}"
