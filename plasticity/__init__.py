"""Networks that keep learning while they read: fast weights, plasticity rules and meta-learning.

    import plasticity as P

  Rules          hebbian, gradient, delta, none: settings -> Rule. One's own is a `Rule`, too.
  Own networks   plastic, run, step: plastic layers in a network of plain JAX, Linen, NNX, Equinox.
  Memory sites   associate, associate_step: keys, values and queries of all steps, or of one.
  Memories       dense, factored, chunked: the engines, and advance, which applies a write.
  Scans          append_scan: a scan whose state grows, differentiated without a copy per step.
  Training       Learner, Hyperparameters: slow weights and theta of any Network, on any Task.
  Programs       register_rule, register_task, register_backbone: one's own, for the launcher;
                 train, open_run: a run of the launcher as an object, for notebooks.

These names are the public interface, with the records of `plasticity.types`. Modules are internal.
"""

import importlib
from typing import Any

from plasticity.append_scan import append_scan
from plasticity.associate import associate, associate_step
from plasticity.memory import advance, chunked, dense, factored
from plasticity.network import Network, NetworkState, Parameters
from plasticity.own import Fast, network_of, run, step
from plasticity.plastic_layers import Plastic, plastic
from plasticity.rules import delta, gradient, hebbian, none
from plasticity.settings import Settings, setting
from plasticity.types import (
    Activity,
    Episode,
    FastWeights,
    Form,
    LayerShape,
    Memory,
    Outputs,
    Plasticity,
    Rule,
    Site,
    Synapse,
    Task,
    Token,
    Write,
)

# Imported on first use, since they need more than JAX.
_LATER = {
    "Hyperparameters": "plasticity.learner",
    "Learner": "plasticity.learner",
    "Run": "plasticity.experiments.notebook",
    "open_run": "plasticity.experiments.notebook",
    "register_backbone": "plasticity.extend",
    "register_rule": "plasticity.extend",
    "register_task": "plasticity.extend",
    "train": "plasticity.experiments.notebook",
}

__all__ = [
    "Activity",
    "Episode",
    "Fast",
    "FastWeights",
    "Form",
    "Hyperparameters",
    "LayerShape",
    "Learner",
    "Memory",
    "Network",
    "NetworkState",
    "Outputs",
    "Parameters",
    "Plastic",
    "Plasticity",
    "Rule",
    "Run",
    "Settings",
    "Site",
    "Synapse",
    "Task",
    "Token",
    "Write",
    "advance",
    "append_scan",
    "associate",
    "associate_step",
    "chunked",
    "delta",
    "dense",
    "factored",
    "gradient",
    "hebbian",
    "network_of",
    "none",
    "open_run",
    "plastic",
    "register_backbone",
    "register_rule",
    "register_task",
    "run",
    "setting",
    "step",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'plasticity' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
