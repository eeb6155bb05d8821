"""Every section of a config, its settings and their defaults. A task's config starts from `start`.

Values may be overridden from the command line: --config.model.width=64. Types are those of the
defaults; `experiments.validate` checks values before anything is compiled or written. The settings
of `rule`, `model`, `encoder`, `mesh` and `task` are those of the library's own dataclasses.
"""

import dataclasses
from collections import ChainMap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_collections import config_dict

from plasticity import memory
from plasticity.configs.training import (
    CheckpointSettings,
    ConsolidationSettings,
    CurriculumSettings,
    EncoderStart,
    EvaluateSettings,
    LogSettings,
    StreamSettings,
    TrainSettings,
)
from plasticity.experiments.extend import REGISTRIES
from plasticity.model import BACKBONES, EncoderSettings, MemoryLayerSettings
from plasticity.network import META_GRADIENTS
from plasticity.outer import OPTIMIZERS
from plasticity.outer.periods import parsed
from plasticity.registry import lookup
from plasticity.rules import RULES, PlasticSettings
from plasticity.settings import Settings, setting
from plasticity.sharding import Layout
from plasticity.tasks import TASKS
from plasticity.unroll import MATMUL_PRECISIONS

AUTO = "auto"
ENGINES = ChainMap({AUTO: None}, memory.ENGINES)
# How the name of a section of `alternatives` is chosen.
CHOICE = {
    "rule": "chosen behind the colon of --config, by --config.rule.name, or, in a config file, by "
    "plasticity.configs.fields.choose_rule",
    "model": "chosen behind the colon of --config, as in --config=copying:rnn/hebbian",
    "task": "chosen by the config file, as in --config=regression",
    "optimizer": "chosen by --config.optimizer.name, or, in a config file, by "
    "plasticity.configs.fields.choose",
}


@dataclasses.dataclass(frozen=True)
class RootSettings(Settings):
    """Settings outside any section."""

    seed: int = setting(0, "seed of initial weights, episodes and dropout", low=0)


@dataclasses.dataclass(frozen=True)
class RuleChoice(Settings):
    """Which rule, and how it is learned."""

    section = "rule"
    name: str = setting("hebbian", "plasticity rule; none: a static net", choices=RULES)
    meta_gradient: str = setting(
        "full", "gradient through the writes; truncated: none, as published", choices=META_GRADIENTS
    )


@dataclasses.dataclass(frozen=True)
class MemorySettings(Settings):
    """How fast weights are stored."""

    section = "memory"
    engine: str = setting(AUTO, "auto: by a cost model", choices=ENGINES)
    chunk: int = setting(-1, "steps per chunk; 0: the whole episode; -1: by a cost model", low=-1)

    def check(self) -> None:
        """Raises ValueError for a chunk that the engine does not take."""
        if self.engine == "chunked" and self.chunk == 0:
            raise ValueError(
                "memory.chunk=0 must be at least 1, or -1, for memory.engine='chunked'; the engine "
                "that keeps an episode in one piece is 'factored'"
            )
        if self.engine == AUTO and self.chunk >= 0:
            raise ValueError(
                f"memory.chunk={self.chunk} must be -1 for memory.engine='auto', which chooses the "
                f"chunk too; with a chunk of your own, name one of {list(memory.ENGINES)}"
            )


@dataclasses.dataclass(frozen=True)
class ModelChoice(Settings):
    """Which backbone, and its arithmetic."""

    section = "model"
    name: str = setting(
        "transformer", "backbone; chosen behind the colon of --config", choices=BACKBONES
    )
    matmul_precision: str = setting(
        "default", "precision of matrix products; default: the device's", choices=MATMUL_PRECISIONS
    )


@dataclasses.dataclass(frozen=True)
class TaskChoice(Settings):
    """Which task."""

    section = "task"
    name: str = setting("copying", "chosen by the config file", choices=TASKS)


@dataclasses.dataclass(frozen=True)
class OptimizerChoice(Settings):
    """Which optimizer the outer loop has, and what it trains."""

    section = "optimizer"
    name: str = setting("adamw", "optimizer of the outer loop", choices=OPTIMIZERS)
    best: int = setting(0, "slow matrices of least condition number to train; 0: all", low=0)
    condition: float = setting(0.0, "largest condition number to train; 0: any", low=0)
    periods: str = setting(
        "", "steps between changes of parts of the net, as fc1:4,block_1:16; empty: each step"
    )
    refresh: float = setting(0.0, "refresh before a step, over a tensor's norm; 0: none", low=0)
    refresh_noise: float = setting(1e-3, "noise of the refresh", low=0)
    refresh_along: str = setting(
        "gradient", "direction of the refresh; random: a control", choices=("gradient", "random")
    )

    def check(self) -> None:
        """Raises ValueError for periods that are none."""
        parsed(self.periods)


# All settings but those of `alternatives`; each names its section.
PARTS: tuple[type[Settings], ...] = (
    *(RootSettings, RuleChoice, MemorySettings, MemoryLayerSettings, ModelChoice),
    *(EncoderSettings, EncoderStart, OptimizerChoice),
    *(TrainSettings, CurriculumSettings, StreamSettings, ConsolidationSettings),
    *(Layout, EvaluateSettings, CheckpointSettings, LogSettings, TaskChoice),
)


def alternatives() -> dict[str, dict[str, type[Settings]]]:
    """{section: {name: further settings of the section under that name}}."""
    return {
        section: {name: factory.settings for name, factory in registry.items()}
        for section, registry in REGISTRIES.items()
    }


def sections(names: Mapping[str, str]) -> dict[str, list[type[Settings]]]:
    """The dataclasses of every section of a config.

    Args:
      names: {section: name} of `alternatives`; a section that is not named is left out.

    Raises:
      ValueError: a name is unknown, or two dataclasses of a section declare the same field.
    """
    kinds = alternatives()
    chosen = [lookup(kinds[s], name, f"{s}.name") for s, name in names.items()]
    found: dict[str, list[type[Settings]]] = {}
    for part in (*PARTS, *chosen):
        if part.section not in kinds or part.section in names:
            found.setdefault(part.section, []).append(part)
    for section, parts in found.items():
        names_of = [field.name for part in parts for field in dataclasses.fields(part)]
        if twice := {name for name in names_of if names_of.count(name) > 1}:
            raise ValueError(
                f"{section}.{min(twice)} is a field of every `{section}`: {parts[-1].__name__} "
                "cannot declare it again"
            )
    return found


def defaults(parts: Sequence[type[Settings]]) -> dict[str, Any]:
    """{field: default} of a section."""
    return {field.name: field.default for part in parts for field in dataclasses.fields(part)}


def get_config(
    model: str = ModelChoice.name,
    task: str = "",
    rule: str = RuleChoice.name,
    optimizer: str = OptimizerChoice.name,
) -> config_dict.ConfigDict:
    """Defaults: the paper's network and rule, with the full meta-gradient.

    Args:
      model: the backbone, on which the fields of `config.model` depend.
      task: the task, on which those of `config.task` depend; empty: without that section.
      rule: the rule, on which those of `config.rule` depend.
      optimizer: on which those of `config.optimizer` depend.
    """
    config = config_dict.ConfigDict()
    names = {"model": model, "rule": rule, "optimizer": optimizer}
    names |= {"task": task} if task else {}
    for section, parts in sections(names).items():
        fields = defaults(parts)
        config.update({section: fields} if section else fields)
    for section, name in names.items():
        config[section].name = name
    if RULES[rule]().write is None and "mixer" in config.model:
        config.model.update(mixer="memory", plastic="none")  # it has a meaning there only
    return config


# Coefficients of both signs, as in Duan et al. 2023: a write may strengthen or weaken. The paper's
# constant 0.02 leaves the gradient rule no choice of sign.
SIGNED = {"alpha": "per_neuron", "alpha_init": "uniform", "alpha_scale": 1.0}
# A decay that is slower than the rate: under the paper's keep = 1 - eta the gradient rule, whose
# writes the clip does not touch, forgets half of a write within one to six steps, and hardly any
# meta-gradient reaches what was written before. Under the Hebbian rule the clip divides eta by some
# 60 to 120, so that its keep is near 1 anyhow.
OURS = dict.fromkeys(("gradient", "synthetic"), SIGNED | {"decay_ratio": 0.05})
# Sizes for synthetic tasks: 67,000 to 69,000 slow weights each.
SMALL = {
    "transformer": {"width": 64, "feed_forward": 128, "dropout": 0.0},
    "rnn": {"hidden": 180},
    "leaky_rnn": {"hidden": 180},
    "lstm": {"hidden": 91},
}


def start(
    which: str, task: str, sizes: Mapping[str, Mapping[str, Any]] = MappingProxyType(SMALL)
) -> config_dict.ConfigDict:
    """The defaults from which a task's config starts.

    Args:
      which: RULE, or MODEL/RULE: what follows the colon of --config; the model is a Transformer
        unless it is named.
      task: name of the task.
      sizes: {model: fields of `config.model`}.
    """
    model, _, rule = which.rpartition("/")
    config = get_config(model or ModelChoice.name, task, rule)
    config.model.update(sizes.get(config.model.name, {}))
    if issubclass(RULES[rule].settings, PlasticSettings):
        config.rule.update(OURS.get(rule, SIGNED))
    return config
