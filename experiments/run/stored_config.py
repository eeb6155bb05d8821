"""config.json: the settings of a run, which its later launches are compared with."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from plasticity.configs import base
from plasticity.configs.fields import foreign, renamed
from plasticity.configs.training import CurriculumSettings
from plasticity.experiments.configfile import executed
from plasticity.experiments.extend import REGISTRIES
from plasticity.experiments.run.checked import read
from plasticity.experiments.run.storage import DamagedFileError, WorkdirError
from plasticity.experiments.validate import ConfigError
from plasticity.outer.optimizer import SCHEDULES
from plasticity.registry import lookup

SOURCES = "registered_by"  # beside the config in config.json; see the function
SECTIONS = ("task", "model", "rule")  # that, like train, the config of every run has


def read_config(path: pathlib.Path) -> dict[str, Any]:
    """The config in a file.

    Settings that are newer than the run are filled in with their defaults, under which it would
    have been the same.

    Raises:
      DamagedFileError: the file holds no config.
      ConfigError: what registered a rule, task or model of the run cannot be executed.
    """
    stored = read(path, dict.fromkeys(SECTIONS, dict) | {"train": {"steps": int}})
    try:
        for section, source in stored.get(SOURCES, {}).items():
            _open_registered(section, stored[section]["name"], source, str(path))
        return _with_defaults(comparable(stored))
    except ConfigError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} holds no config of a run: {error}") from error


def _open_registered(section: str, name: str, source: str, path: str) -> None:
    """Executes what registered a rule, task or model of the config in a file, unless it is known.

    Raises:
      ConfigError: there is no such file or module, it raises an error, or registers it no more.
    """
    if name in REGISTRIES[section]:
        return
    what = f"{path}: {section}.name={name!r} is registered by {source}"
    if source.endswith(".py") and not os.path.isfile(source):
        raise ConfigError(
            f"{what}, which does not exist: put it back, or write its new place into {path}"
        )
    executed(source, what)
    if name not in REGISTRIES[section]:
        raise ConfigError(f"{what}, which does not register it when it is executed")


def registered_by(config: ConfigDict) -> dict[str, dict[str, str]]:
    """{SOURCES: {section: the file or module that registered what its `name` chooses}}, or {}."""
    found = {s: registry[config[s].name].source for s, registry in REGISTRIES.items()}
    sources = {section: source for section, source in found.items() if source}
    return {SOURCES: sources} if sources else {}


def comparable(stored: dict[str, Any]) -> dict[str, Any]:
    """The config alone, with the names that fields have today.

    Without fields of other rules, which the config of every run once had.
    """
    config = renamed({section: own for section, own in stored.items() if section != SOURCES})
    name = config["rule"]["name"]
    rule = {k: v for k, v in config["rule"].items() if not foreign(f"rule.{k}", name)}
    return config | {"rule": rule}


def _with_defaults(stored: dict[str, Any]) -> dict[str, Any]:
    defaults = _defaults(stored)
    whole = defaults | stored
    for section, fields in defaults.items():
        if isinstance(fields, dict):
            whole[section] = fields | whole[section]
    return whole


def _defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The default config with the task, the model and the rule of a config."""
    names = {part: config[part]["name"] for part in SECTIONS}
    return base.get_config(**names, optimizer=_optimizer(config)).to_dict()


def _optimizer(config: Mapping[str, Any]) -> str:
    """The name of the optimizer; a run from before there was a choice has the default."""
    return config.get("optimizer", {}).get("name", base.OptimizerChoice.name)


def changed_fields(config: ConfigDict) -> dict[str, Any]:
    """{dotted field: value} of what differs from the defaults, and the names of the parts."""
    values = config.to_dict()
    changed = {field: value for field, _, value in differences(_defaults(values), values)}
    names = {f"{part}.name": values[part]["name"] for part in SECTIONS}
    if (optimizer := _optimizer(values)) != base.OptimizerChoice.name:
        names |= {"optimizer.name": optimizer}  # only then, or the hashes of points would change
    return changed | names


def differences(a: Any, b: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Fields in which two nested dicts differ: (dotted name, value in a, value in b)."""
    if isinstance(a, dict) and isinstance(b, dict):
        # Under another name a section has other fields.
        same = a.get("name") == b.get("name")
        return [
            change
            for key in sorted(a.keys() | b.keys() if same else a.keys() & b.keys())
            for change in differences(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if a == b else [(prefix, a, b)]


def check_extension(
    path: pathlib.Path, before: dict[str, Any], now: dict[str, Any], done: int
) -> None:
    """Checks that the `done` steps of a run are those of a longer run.

    Args:
      path: of the workdir. before, now: the config, there and here.

    Raises:
      WorkdirError: more steps are done, or what they were depends on train.steps: their learning
        rates, or the stages of a curriculum.
    """
    there, here = before["train"]["steps"], now["train"]["steps"]
    if here < done:
        raise WorkdirError(
            f"train.steps={here} is less than the {done} steps that the run in "
            f"--workdir={path} has done. Choose another workdir for a shorter run."
        )
    if here == there:
        return
    name, warmup = now["train"]["schedule"], now["train"]["warmup"]
    schedule, past = lookup(SCHEDULES, name, "train.schedule"), jnp.arange(max(0, done - warmup))
    why = ""
    if jnp.any(schedule(there - warmup)(past) != schedule(here - warmup)(past)):
        why = f"the learning rates of the {done} steps that it has done would have been others by "
        why += f"train.schedule={name!r}"
    elif _shared_starts(now, there, done) != _shared_starts(now, here, done):
        why = f"the stages of the {done} steps that it has done would have begun at others by "
        why += f"curriculum.share={now['curriculum']['share']}"
    if why:
        raise WorkdirError(
            f"train.steps={here} cannot extend the run of train.steps={there} in "
            f"--workdir={path}: {why}. Choose another workdir."
        )


def _shared_starts(config: Mapping[str, Any], steps: int, done: int) -> list[int]:
    """The first updates below `done` of the stages that share a part of the steps."""
    settings = CurriculumSettings(**config["curriculum"])
    if not settings.field or settings.until:
        return []
    return [s for s in settings.starts(steps, config["task"][settings.field]) if s < done]
