"""Rules, tasks, backbones and optimizers of your own, from your own files, for all programs.

    plasticity.register_rule("oja", make, OjaSettings)  # make(settings) -> Rule

Programs then know it by its name. The config of a run records which file, or installed module,
called the function: to open the run is to execute it again.
"""

import dataclasses
import importlib.metadata
import os
import sys
from collections.abc import Callable
from typing import Any

from plasticity.backbone import Backbone
from plasticity.factory import Factory
from plasticity.model import BACKBONES
from plasticity.outer import OPTIMIZERS
from plasticity.outer.optimizer import Optimizer
from plasticity.registry import shown
from plasticity.rules import RULES
from plasticity.settings import Settings
from plasticity.task import Task
from plasticity.tasks import TASKS
from plasticity.types import Rule

# {section of the config: what its `name` chooses from}
REGISTRIES: dict[str, dict[str, Factory[Any]]] = {
    "rule": RULES, "task": TASKS, "model": BACKBONES, "optimizer": OPTIMIZERS,
}  # fmt: skip


def register_rule(name: str, make: Callable[..., Rule], settings: type[Settings]) -> None:
    """Adds a rule of one's own to `RULES`, for all programs and configs.

    Args:
      name: a Python name, for `rule.name` in a config.
      make: (settings) -> `Rule`.
      settings: a dataclass with section = "rule", subclass of `Settings`; best, of
        `PlasticSettings`.

    Raises:
      ValueError: the name is none or is taken, or `settings` is no such dataclass.

    >>> import dataclasses
    >>> import plasticity as P
    >>> @dataclasses.dataclass(frozen=True)
    ... class CorrectingSettings(P.PlasticSettings):
    ...     share: float = P.setting(1.0, "share of the error that is corrected", low=0, high=1)
    >>> def correcting(s: CorrectingSettings) -> P.Rule:
    ...     return P.modulated(s, lambda layer: (layer.post - s.share * layer.recall, layer.pre))
    >>> P.register_rule("correcting", correcting, CorrectingSettings)
    >>> correcting(CorrectingSettings(share=2.0))
    Traceback (most recent call last):
    ValueError: rule.share=2.0 must be at least 0 and at most 1
    """
    _register("rule", name, make, settings)


def register_task(name: str, make: Callable[..., Task], settings: type[Settings]) -> None:
    """Adds a task of one's own to `TASKS`, for all programs and configs.

    Args:
      name: a Python name, for `task.name` in a config.
      make: (settings) -> `Task`.
      settings: a dataclass, subclass of `Settings`, with section = "task".

    Raises:
      ValueError: the name is none or is taken, or `settings` is no such dataclass.
    """
    _register("task", name, make, settings)


def register_backbone(name: str, make: Callable[..., Backbone], settings: type[Settings]) -> None:
    """Adds a backbone of one's own to `BACKBONES`, for all programs and configs.

    Args:
      name: a Python name, for `model.name` in a config.
      make: (settings, `EncoderSettings`, `TaskShape`) -> `Backbone`.
      settings: a dataclass, subclass of `Settings`, with section = "model".

    Raises:
      ValueError: the name is none or is taken, or `settings` is no such dataclass.
    """
    _register("model", name, make, settings)


def register_optimizer(name: str, make: Callable[..., Optimizer], settings: type[Settings]) -> None:
    """Adds an optimizer of one's own to `OPTIMIZERS`, for all programs and configs.

    Args:
      name: a Python name, for `optimizer.name` in a config.
      make: (settings) -> `Optimizer`.
      settings: a dataclass, subclass of `Settings`, with section = "optimizer".

    Raises:
      ValueError: the name is none or is taken, or `settings` is no such dataclass.
    """
    _register("optimizer", name, make, settings)


def _register(section: str, name: str, make: Callable, settings: Any) -> None:
    what, registry = f"{section}.name={shown(name)}", REGISTRIES[section]
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"{what} must be a Python name, such as 'my_{section}'")
    if not callable(make):
        raise ValueError(f"{what}: make={shown(make)} must be a function of the settings")
    # A class that is no dataclass of its own has the fields of its base alone.
    if not (
        "__dataclass_fields__" in getattr(settings, "__dict__", {})
        and issubclass(settings, Settings)
        and settings.section == section
        and all("about" in field.metadata for field in dataclasses.fields(settings))
    ):
        given = getattr(settings, "__qualname__", shown(settings))
        raise ValueError(
            f"{what}: settings={given} must be a dataclass and a subclass of Settings, "
            f"with section = {section!r} and fields made by plasticity.settings.setting"
        )
    settings()  # the defaults pass their own checks
    new = Factory(settings, make, _source(sys._getframe(2).f_globals))
    old = registry.get(name, new)
    # A file that is executed twice defines its functions twice.
    if (old.source, _name_of(old.make)) != (new.source, _name_of(make)):
        owner = f"{_name_of(old.make)} of {old.source or 'this library'}"
        raise ValueError(f"{what} is taken by {owner}: choose another name")
    registry[name] = new


def _name_of(make: Callable) -> str:
    return getattr(make, "__qualname__", type(make).__qualname__)


def _source(module: dict[str, Any]) -> str:
    """The name of an installed module, the path of another file, or "__main__" without a file."""
    name, file = module["__name__"], module.get("__file__")
    installed = name.partition(".")[0] in importlib.metadata.packages_distributions()
    return name if file is None or installed else os.path.abspath(file)
