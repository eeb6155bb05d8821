"""Checks a config before anything is compiled or written."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

from ml_collections import ConfigDict

from configs import base
from experiments import build
from plasticity.learner import SCHEDULES
from plasticity.memory import ENGINES
from plasticity.model import BACKBONES, EncoderSettings
from plasticity.network import META_GRADIENTS
from plasticity.registry import lookup, nearest
from plasticity.rules import RULES
from plasticity.tasks import TASKS
from plasticity.types import Task
from plasticity.unroll import MATMUL_PRECISIONS


class ConfigError(ValueError):
    """A config cannot be run; the message names the field, the value and what would be right."""


CHOICES = {
    "rule.name": RULES,
    "rule.meta_gradient": META_GRADIENTS,
    "memory.engine": [build.AUTO, *ENGINES],
    "model.name": BACKBONES,
    "model.matmul_precision": MATMUL_PRECISIONS,
    "task.name": TASKS,
    "train.schedule": SCHEDULES,
}

# What a number must be, in words and as a test.
Condition = tuple[str, Callable[[Any], bool]]
POSITIVE: Condition = ("greater than 0", lambda v: v > 0)
NOT_NEGATIVE: Condition = ("at least 0", lambda v: v >= 0)
FRACTION: Condition = ("at least 0 and less than 1", lambda v: 0 <= v < 1)
CONDITIONS: dict[str, Condition] = {
    "seed": ("at least 0 and less than 2**31", lambda v: 0 <= v < 2**31),
    "rule.eta0": NOT_NEGATIVE,
    "rule.max_norm": NOT_NEGATIVE,
    "rule.alpha_scale": ("a finite number", math.isfinite),
    "rule.norm_epsilon": NOT_NEGATIVE,
    "rule.decay_ratio": NOT_NEGATIVE,
    "rule.internal_scale": POSITIVE,
    "memory.chunk": ("-1, 0 or a number of steps", lambda v: v >= -1),
    "model.hidden": POSITIVE,
    "model.layers": POSITIVE,
    "model.heads": POSITIVE,
    "model.width": POSITIVE,
    "model.feed_forward": POSITIVE,
    "model.auxiliary": NOT_NEGATIVE,
    "model.dropout": FRACTION,
    "model.attention_window": ("-1, 0 or a number of steps", lambda v: v >= -1),
    "encoder.filters": POSITIVE,
    "encoder.projection": NOT_NEGATIVE,
    "train.steps": POSITIVE,
    "train.batch": POSITIVE,
    "train.num_seeds": POSITIVE,
    "train.microbatch": NOT_NEGATIVE,
    "train.learning_rate": POSITIVE,
    "train.warmup": NOT_NEGATIVE,
    "train.weight_decay": NOT_NEGATIVE,
    "train.clip": POSITIVE,
    "mesh.data": ("-1, 0 or a number of devices", lambda v: v >= -1),
    "mesh.model": POSITIVE,
    "evaluate.episodes": ("at least 2, for an interval", lambda v: v >= 2),
    "evaluate.batch": POSITIVE,
    "evaluate.every": NOT_NEGATIVE,
    "checkpoint.every": POSITIVE,
    "checkpoint.keep": POSITIVE,
    "log.every": POSITIVE,
}


def validate(config: ConfigDict) -> None:
    """Raises ConfigError for the first thing that is wrong with `config`."""
    try:
        _check_structure(config)
        if "name" not in config.task:
            raise ConfigError(f"task.name is missing: {nearest('', TASKS)}")
        for field, choices in CHOICES.items():
            lookup(dict.fromkeys(choices), _get(config, field), field)
        _check_fields("task", config.task, ["name", *_parameters(TASKS[config.task.name])])
        for field, (wanted, holds) in CONDITIONS.items():
            section, _, name = field.rpartition(".")
            if section == "model" and name not in config.model:
                continue  # of another backbone
            value = _get(config, field)
            if not (math.isfinite(value) and holds(value)):
                raise ConfigError(f"{field}={value!r} must be {wanted}")
        if config.seed + config.train.num_seeds > 2**31:
            raise ConfigError(
                f"train.num_seeds={config.train.num_seeds} from seed={config.seed} on passes 2**31"
            )
        _, settings = BACKBONES[config.model.name]
        settings(**build.without(config.model, "name", "matmul_precision"))
        build.rule_settings(config)
        if config.memory.engine == "chunked" and config.memory.chunk == 0:
            raise ConfigError(
                "memory.chunk=0 must be at least 1, or -1, for memory.engine='chunked'; the engine "
                "that keeps an episode in one piece is 'factored'"
            )
        if config.memory.engine == build.AUTO and config.memory.chunk >= 0:
            raise ConfigError(
                f"memory.chunk={config.memory.chunk} must be -1 for memory.engine='auto', which "
                f"chooses the chunk too; with a chunk of your own name one of {list(ENGINES)}"
            )
        EncoderSettings(**config.encoder)
        _check_mesh(config)
        _check_together(config, build.make_task(config))
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:  # raised by the library, which names the field
        raise ConfigError(str(error)) from error


def _check_mesh(config: ConfigDict) -> None:
    """Devices must divide what they share."""
    for field in ("train.batch", "evaluate.batch"):
        try:
            build.make_layout(config).mesh(_get(config, field))
        except ValueError as error:
            raise ConfigError(f"{field}={_get(config, field)}: {error}") from error
    most = config.train.microbatch
    share = config.train.batch // build.make_layout(config).mesh(config.train.batch).shape["data"]
    if 0 < most < share and share % most:
        raise ConfigError(
            f"train.microbatch={most} must divide the {share} episodes of a device: "
            f"{_nearest_divisors(share, most)} do"
        )
    parts = config.mesh.model
    for name in ("width", "feed_forward"):
        size = config.model.get(name)
        if parts > 1 and size is None:
            raise ConfigError(
                f"mesh.model={parts} must be 1 for model.name={config.model.name!r}, whose layers "
                "are not shared by devices"
            )
        if size is not None and size % parts:
            near = max(size // parts, 1) * parts
            raise ConfigError(
                f"model.{name}={size} cannot be shared by mesh.model={parts} devices: {near} can"
            )


def _check_together(config: ConfigDict, task: Task) -> None:
    """What a backbone asks of its task and rule."""
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


def _check_structure(config: ConfigDict) -> None:
    """Fields and types must be those of `configs/base.py`, plus `task`."""
    name = config.model.name if isinstance(config.get("model"), ConfigDict) else "transformer"
    defaults = base.get_config(name)
    _check_fields("", config, [*defaults, "task"])
    for name, default in defaults.items():
        if not isinstance(default, ConfigDict):
            _check_type(name, config[name], default)
            continue
        _check_fields(name, config[name], default)
        for field in default:
            _check_type(f"{name}.{field}", config[name][field], default[field])


def _check_fields(section: str, fields: Any, known: Iterable[str]) -> None:
    prefix = f"{section}." if section else ""
    if not isinstance(fields, ConfigDict):
        raise ConfigError(f"{section}={fields!r} must be a section with fields {sorted(known)}")
    known = list(known)
    for field in fields:
        if field not in known:
            raise ConfigError(f"{prefix}{field} is not a setting: {nearest(field, known)}")
    for field in known:
        if field not in fields:
            raise ConfigError(f"{prefix}{field} is missing from the config")


def _check_type(field: str, value: Any, default: Any) -> None:
    kinds = (int, float) if isinstance(default, float) else type(default)
    wrong_bool = isinstance(value, bool) != isinstance(default, bool)
    if wrong_bool or not isinstance(value, kinds):
        raise ConfigError(f"{field}={value!r} must be of type {type(default).__name__}")


def _get(config: ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return config


def _parameters(factory: Callable) -> list[str]:
    return list(inspect.signature(factory).parameters)


def _nearest_divisors(number: int, to: int) -> str:
    """The largest divisor up to `to`, and the smallest from it on."""
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    return f"{max(n for n in divisors if n <= to)} and {min(n for n in divisors if n >= to)}"
