"""Checks a config before anything is compiled or written."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

import jax
import numpy as np
from ml_collections import ConfigDict
from ml_collections.config_dict import RequiredValueError

from plasticity.configs import base
from plasticity.configs.fields import where
from plasticity.experiments import build, outer_checks
from plasticity.model import TransformerSettings
from plasticity.registry import nearest, shown
from plasticity.rules import RULES, feed_forward
from plasticity.settings import LARGEST_INT, Settings, dotted
from plasticity.sharding import Layout, largest_divisor


class ConfigError(ValueError):
    """A config cannot be run; the message names the field, the value and what would be right."""


def validate(config: ConfigDict, training: bool = True, here: bool = True) -> None:
    """Raises ConfigError for the first fault of `config`.

    Without `training`, a curriculum may be longer than the task of an evaluation. Without `here`,
    the config is of a run on other devices, which may be of another number.
    """
    try:
        names = {}
        for section in base.alternatives():
            given = _section(config, section)
            _check_missing(section, given, ["name"])
            names[section] = given["name"]
        for section, parts in base.sections(names).items():
            _check_section(config, section, parts)
        if config.seed + config.train.num_seeds - 1 > LARGEST_INT:
            raise ConfigError(
                f"train.num_seeds={config.train.num_seeds} from seed={config.seed} on passes 2**31"
            )
        if here:
            _check_mesh(config)
        _check_backbone(config)
        _check_rule(config)
        outer_checks.check_optimizer(config)
        outer_checks.check_consolidation(config)
        task = build.make_task(config)
        if training:
            outer_checks.check_curriculum(config, task)
            outer_checks.check_stream(config, task)
            if here:
                outer_checks.check_fisher(config, task)
    except RequiredValueError as error:  # a placeholder of ml_collections without a value
        raise ConfigError(f"the config holds a required field without a value: {error}") from error
    except (ValueError, TypeError) as error:  # raised by the library, which names the field
        raise ConfigError(str(error)) from error


def _section(config: ConfigDict, section: str) -> ConfigDict:
    """A section of the config; for "", the config itself."""
    if not section:
        return config
    _check_missing("", config, [section])
    if not isinstance(config[section], ConfigDict):
        raise ConfigError(
            f"{section}={shown(config[section])} must be a section, with fields of its own"
        )
    return config[section]


def _check_missing(section: str, given: ConfigDict, known: Iterable[str]) -> None:
    for field in known:
        if field not in given:
            raise ConfigError(f"{dotted(section, field)} is missing from the config")


def _check_section(config: ConfigDict, section: str, parts: Sequence[type[Settings]]) -> None:
    """The dataclasses of a section check its fields."""
    given, known = _section(config, section), _names(parts)
    for name, other in base.alternatives().get(section, {}).items():
        if set(given) == set(_names([*parts[:1], other])) != set(known):
            raise ConfigError(
                f"{section}.name={given['name']!r}, but the fields of `{section}` are those of "
                f"{name!r}: the name is {base.CHOICE[section]}"
            )
    valid = known if section else [*known, *sorted({p.section for p in base.PARTS} - {""})]
    for field in given:
        if field not in valid:
            name = dotted(section, str(field))
            what = where(name) or f"not a setting: {nearest(str(field), valid)}"
            raise ConfigError(f"{name} is {what}")
    _check_missing(section, given, known)
    for part in parts:
        build.read(config, part)
    for name in known:
        if not isinstance(given[name], bool | int | float | str):  # which the library takes too
            raise ConfigError(
                f"{dotted(section, name)}={shown(given[name])} must be a number of Python, not of "
                f"{type(given[name]).__module__}: config.json stores it"
            )


def _names(parts: Sequence[type[Settings]]) -> list[str]:
    return [field.name for part in parts for field in fields(part)]


def _check_mesh(config: ConfigDict) -> None:
    """Devices must divide what they share."""
    layout = build.read(config, Layout)
    for section in ("train", "evaluate"):
        batch = config[section].batch
        try:
            devices = layout.mesh(batch).shape["data"]
        except ValueError as error:
            raise ConfigError(f"{section}.batch={batch}: {error}") from error
        most, share = config.train.microbatch, batch // devices
        # On another number of devices parts may be smaller, see `mean_over_parts`. Parts of 2
        # episodes where 16 fit are a mistake.
        if section == "train" and 0 < most < share and 2 * largest_divisor(share, most) < most:
            below, above = _nearest_divisors(share, most)
            raise ConfigError(
                f"train.microbatch={most} must divide the {share} episodes of a device: "
                f"{below} and {above} do"
            )
    parts, model = config.mesh.model, config.model
    if parts > 1 and "feed_forward" not in model:
        raise ConfigError(
            f"mesh.model={parts} must be 1 for model.name={model.name!r}, whose layers are not "
            "shared by devices"
        )
    for name in _shared(config) if parts > 1 else []:
        if model[name] % parts:
            near = max(model[name] // parts, 1) * parts
            raise ConfigError(
                f"model.{name}={model[name]} cannot be shared by mesh.model={parts} devices: "
                f"{near} can"
            )


def _shared(config: ConfigDict) -> list[str]:
    """The numbers of a Transformer that the devices must divide."""
    settings = build.read(config, TransformerSettings)
    by_heads = settings.slow_attention and not settings.level_specs
    return ["feed_forward", "heads"] if by_heads else ["feed_forward"]


def _nearest_divisors(number: int, to: int) -> tuple[int, int]:
    below = next(n for n in range(to, 0, -1) if number % n == 0)
    return below, next(n for n in range(to, number + 1) if number % n == 0)


def _check_rule(config: ConfigDict) -> None:
    """The rule must have a meaning where the network is plastic."""
    factory = RULES[config.rule.name]
    rule = factory.make(build.read(config, factory.settings))
    model = config.model
    memory = build.make_memory(config)
    if rule.write is None and model.get("plastic", "none") != "none":
        raise ConfigError(
            f"rule.name={config.rule.name!r} has a meaning at memory sites only, and "
            f"model.plastic={model.plastic!r} has plastic layers: choose one of {feed_forward()}, "
            "or model.plastic='none' and a memory in model.mixer"
        )
    if memory is not None and config.rule.meta_gradient != "full" and model.plastic == "none":
        raise ConfigError(
            f"rule.meta_gradient={config.rule.meta_gradient!r} must be 'full' for memory layers"
        )


def _check_backbone(config: ConfigDict) -> None:
    """What a backbone demands of its task and rule."""
    name = config.model.name
    if config.model.get("tied"):
        build.make_learner(config)
    if name not in ("prototypical", "classifier"):
        return
    if config.rule.name != "none":
        raise ConfigError(
            f"rule.name={config.rule.name!r} must be 'none' for model.name={name!r}, which "
            "has no plastic layer"
        )
    if name == "classifier":
        learner = build.make_learner(config)
        if config.model.credit != "backprop":  # whose losses check the targets
            hyper = build.make_hyperparameters(config, learner.task)
            state, step = jax.eval_shape(learner.init, np.uint32(0), hyper), np.zeros((), np.int32)
            jax.eval_shape(learner.loss, state.params, np.uint32(0), step, step[None], hyper)
        return
    if config.task.name != "few_shot" or config.task.order != "independent":
        raise ConfigError(
            "model.name='prototypical' needs a few-shot task with task.order='independent'"
        )
