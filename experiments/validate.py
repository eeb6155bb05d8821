"""Checks a config before anything is compiled or written."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import RequiredValueError

from configs import base
from experiments import build
from plasticity.registry import nearest, shown
from plasticity.settings import LARGEST_INT, Settings, dotted


class ConfigError(ValueError):
    """A config cannot be run; the message names the field, the value and what would be right."""


HOW_TO_CHOOSE = {
    "model": "the backbone is chosen behind the colon of --config, as in --config=FILE:rnn/hebbian",
    "task": "the task is chosen by the config file, as in --config=configs/regression.py",
}


def validate(config: ConfigDict) -> None:
    """Raises ConfigError for the first fault of `config`."""
    try:
        sections = base.sections({name: _name(config, name) for name in base.alternatives()})
        top_level = [*_names([base.RootSettings]), *filter(None, sections)]
        _check_names("", config, top_level)
        for section, parts in sections.items():
            _check_section(config, section, parts)
        if config.seed + config.train.num_seeds - 1 > LARGEST_INT:
            raise ConfigError(
                f"train.num_seeds={config.train.num_seeds} from seed={config.seed} on passes 2**31"
            )
        _check_mesh(config)
        _check_backbone(config)
        build.make_task(config)
    except RequiredValueError as error:  # a placeholder of ml_collections without a value
        raise ConfigError(f"the config holds a required field without a value: {error}") from error
    except (ValueError, TypeError) as error:  # raised by the library, which names the field
        raise ConfigError(str(error)) from error


def _fields(config: ConfigDict, section: str) -> Mapping[str, Any]:
    """The fields of a section; for "", of the config itself."""
    if section not in config and section:
        raise ConfigError(f"{section} is missing from the config")
    given = config[section] if section else config
    if not isinstance(given, ConfigDict):
        raise ConfigError(f"{section}={shown(given)} must be a section, with fields of its own")
    return given


def _name(config: ConfigDict, section: str) -> Any:
    given = _fields(config, section)
    if "name" not in given:
        raise ConfigError(f"{section}.name is missing from the config")
    return given["name"]


def _names(parts: Sequence[type[Settings]]) -> list[str]:
    return [field.name for part in parts for field in fields(part)]


def _check_section(config: ConfigDict, section: str, parts: Sequence[type[Settings]]) -> None:
    """The dataclasses of a section check its fields."""
    given, known = _fields(config, section), _names(parts)
    for name, other in base.alternatives().get(section, {}).items():
        if set(given) == set(_names([*parts[:1], other])) != set(known):
            raise ConfigError(
                f"{section}.name={given['name']!r}, but the fields of `{section}` are those of "
                f"{name!r}: {HOW_TO_CHOOSE[section]}"
            )
    if section:
        _check_names(section, given, known)
    for part in parts:
        build.read(config, part)
    for name in known:
        if not isinstance(given[name], bool | int | float | str):  # which the library takes too
            raise ConfigError(
                f"{dotted(section, name)}={shown(given[name])} must be a number of Python, not of "
                f"{type(given[name]).__module__}: config.json stores it"
            )


def _check_names(section: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for field in given:
        if field not in known:
            raise ConfigError(
                f"{dotted(section, field)} is not a setting: {nearest(str(field), known)}"
            )
    for field in known:
        if field not in given:
            raise ConfigError(f"{dotted(section, field)} is missing from the config")


def _check_mesh(config: ConfigDict) -> None:
    """Devices must divide what they share."""
    layout = build.make_layout(config)
    for section in ("train", "evaluate"):
        batch = config[section].batch
        try:
            devices = layout.mesh(batch).shape["data"]
        except ValueError as error:
            raise ConfigError(f"{section}.batch={batch}: {error}") from error
        most, share = config.train.microbatch, batch // devices
        if section == "train" and 0 < most < share and share % most:
            raise ConfigError(
                f"train.microbatch={most} must divide the {share} episodes of a device: "
                f"{_nearest_divisors(share, most)} do"
            )
    parts, model = config.mesh.model, config.model
    sizes = {name: model[name] for name in ("width", "feed_forward") if name in model}
    if parts > 1 and not sizes:
        raise ConfigError(
            f"mesh.model={parts} must be 1 for model.name={model.name!r}, whose layers are not "
            "shared by devices"
        )
    for name, size in sizes.items():
        if size % parts:
            near = max(size // parts, 1) * parts
            raise ConfigError(
                f"model.{name}={size} cannot be shared by mesh.model={parts} devices: {near} can"
            )


def _check_backbone(config: ConfigDict) -> None:
    """What a backbone demands of its task and rule."""
    if config.model.name != "prototypical":
        return
    if config.rule.name != "none":
        raise ConfigError(
            f"rule.name={config.rule.name!r} must be 'none' for model.name='prototypical', which "
            "has no plastic layer"
        )
    if config.task.name != "few_shot" or config.task.order != "independent":
        raise ConfigError(
            "model.name='prototypical' needs a few-shot task with task.order='independent'"
        )


def _nearest_divisors(number: int, to: int) -> str:
    """The largest divisor up to `to`, and the smallest from it on."""
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    return f"{max(n for n in divisors if n <= to)} and {min(n for n in divisors if n >= to)}"
