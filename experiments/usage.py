"""The texts of --help and --list."""

import inspect
import textwrap
from collections.abc import Callable, Sequence

from absl import flags
from ml_collections import ConfigDict

from experiments.configfile import EXAMPLE, fields_of
from plasticity.memory import ENGINES
from plasticity.model import BACKBONES
from plasticity.rules import RULES
from plasticity.tasks import TASKS

WIDTH = 100


def listing() -> str:
    """Tasks with their settings and defaults, rules, engines and models."""
    lines = ["Tasks, and their settings as --config.task.NAME:"]
    lines += [_wrapped(f"{name}: {_parameters(make)}") for name, make in TASKS.items()]
    for title, names in (
        ("Rules, behind the colon of --config", RULES),
        ("Models, as --config=FILE.py:MODEL/RULE", BACKBONES),
        ("Engines of the fast weights, as --config.memory.engine", ["auto", *ENGINES]),
    ):
        lines.append(f"{title}: {', '.join(names)}")
    return "\n".join(lines)


def text(doc: str, own: Sequence[flags.Flag], config: ConfigDict | None) -> str:
    """The text of --help.

    Args:
      doc: of the program's module.
      own: its flags.
      config: whose settings are shown; None: the program takes no config.
    """
    parts = [doc.strip(), "Flags:\n" + "\n".join(map(_flag, own)), listing()]
    if config is not None:
        sections: dict[str, list[str]] = {}
        for field, value in fields_of(config):
            section, _, name = field.rpartition(".")
            sections.setdefault(section, []).append(f"{name}={value}")
        shown = (
            _wrapped(f"{f'{section}: ' if section else ''}{', '.join(fields)}")
            for section, fields in sections.items()
        )
        parts.append(
            "Settings as --config.SECTION.NAME=VALUE, and their defaults (those of a config: "
            "--config=FILE.py --help):\n" + "\n".join(shown)
        )
        parts.append(f"Example: {EXAMPLE} --config.model.width=64 --config.train.steps=100")
    return "\n\n".join(parts)


def help_of(flag: flags.Flag) -> str:
    """The help of a flag, without the notes that absl adds to some kinds, and with its choices."""
    choices = getattr(flag.parser, "enum_values", [])
    about = flag.help.removeprefix(f"<{'|'.join(choices)}>: ").partition(";\n")[0]
    return f"{about}: {' or '.join(choices)}" if choices else about


def _flag(flag: flags.Flag) -> str:
    default = f" (default: {flag.default_as_str})" if flag.default not in (None, "", []) else ""
    return _wrapped(f"--{'[no]' if flag.boolean else ''}{flag.name}: {help_of(flag)}{default}")


def _parameters(make: Callable) -> str:
    parameters = inspect.signature(make).parameters.values()
    return ", ".join(
        p.name if p.default is p.empty else f"{p.name}={p.default}" for p in parameters
    )


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="      ")
