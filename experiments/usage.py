"""The texts of --help and --list."""

import dataclasses
import textwrap
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict

from configs import base
from experiments.configfile import EXAMPLE, fields_of
from plasticity.model import BACKBONES
from plasticity.rules import RULES
from plasticity.tasks import TASKS


def listing() -> str:
    """Tasks with their settings and defaults, rules, engines and models."""
    lines = ["Tasks, and their settings as --config.task.NAME:"]
    for name, task in TASKS.items():
        defaults = (f"{field.name}={field.default}" for field in dataclasses.fields(task.settings))
        lines.append(_wrapped(f"{name}: {', '.join(defaults)}"))
    return "\n".join(
        [
            *lines,
            f"Rules, behind the colon of --config: {', '.join(RULES)}",
            f"Models, as --config=FILE.py:MODEL/RULE: {', '.join(BACKBONES)}",
            f"Engines of the fast weights, as --config.memory.engine: {', '.join(base.ENGINES)}",
        ]
    )


def text(doc: str, own: Sequence[flags.Flag], config: ConfigDict | None) -> str:
    """The text of --help.

    Args:
      doc: of the program's module.
      own: its flags.
      config: whose settings are shown; None: the program takes no config.
    """
    parts = [doc.strip(), "Flags:\n" + "\n".join(map(_flag, own)), listing()]
    if config is not None:
        names = {part: config[part].name for part in base.alternatives() if part in config}
        kinds = [kind for kinds in base.sections(names).values() for kind in kinds]
        about = {field: what for kind in kinds for field, what in kind.describe()}
        shown = (_wrapped(f"{f}={value}: {about.get(f, '?')}") for f, value in fields_of(config))
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


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 100, initial_indent="  ", subsequent_indent="      ")
