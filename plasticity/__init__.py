"""Networks that keep learning while they read: fast weights, plasticity rules and meta-learning.

    import plasticity as P

  Rules          settings -> Rule. In plastic layers hebbian, gradient, synthetic, delta; at
                 memory sites delta and hebb, gated_delta, kda, comba, delta_product, oja,
                 oja_gated, longhorn, rwkv7, mesa, srwm, titans, ttt_linear, ttt_mlp, moneta, yaad,
                 memora, dgd, level, self_modifying; none. A rule of your own is a `Rule`, too:
                 modulated makes one with the rate of Chaudhary 2025; credit and pullback help to
                 make one that descends the loss of a small network.
  Own networks   plastic, run, step: plastic layers in a network of plain JAX, Linen, NNX, Equinox.
  Memory sites   associate, associate_step: keys, values and queries of all steps, or of one.
  Memory layers  MemoryLayer, MemoryLayerSettings: projections, gates and norms around a rule.
  Memories       dense, factored, chunked: the engines, and advance, which applies a write.
  Scans          append_scan: a scan whose state grows, differentiated without a copy per step.
  Training       Learner, Hyperparameters: slow weights and theta of any Network, on any Task, whose
                 parts check_task checks.
  Programs       register_rule, register_task, register_backbone, register_optimizer: make a part of
                 your own known to the launcher; train, open_run: a run of it, for notebooks.

These names are the public interface, with the records of `plasticity.types`. Modules are internal.
"""

import importlib
from typing import Any

from plasticity.append_scan import append_scan as append_scan
from plasticity.associate import associate as associate
from plasticity.memory import advance as advance
from plasticity.memory import chunked as chunked
from plasticity.memory import dense as dense
from plasticity.memory import factored as factored
from plasticity.network import Network as Network
from plasticity.network import NetworkState as NetworkState
from plasticity.network import Parameters as Parameters
from plasticity.own import network_of as network_of
from plasticity.own import run as run
from plasticity.own import step as step
from plasticity.plastic_layers import Fast as Fast
from plasticity.plastic_layers import Plastic as Plastic
from plasticity.plastic_layers import plastic as plastic
from plasticity.rules import comba as comba
from plasticity.rules import credit as credit
from plasticity.rules import delta as delta
from plasticity.rules import delta_product as delta_product
from plasticity.rules import dgd as dgd
from plasticity.rules import gated_delta as gated_delta
from plasticity.rules import gradient as gradient
from plasticity.rules import hebb as hebb
from plasticity.rules import hebbian as hebbian
from plasticity.rules import kda as kda
from plasticity.rules import level as level
from plasticity.rules import longhorn as longhorn
from plasticity.rules import memora as memora
from plasticity.rules import mesa as mesa
from plasticity.rules import moneta as moneta
from plasticity.rules import none as none
from plasticity.rules import oja as oja
from plasticity.rules import oja_gated as oja_gated
from plasticity.rules import pullback as pullback
from plasticity.rules import rwkv7 as rwkv7
from plasticity.rules import self_modifying as self_modifying
from plasticity.rules import srwm as srwm
from plasticity.rules import synthetic as synthetic
from plasticity.rules import titans as titans
from plasticity.rules import ttt_linear as ttt_linear
from plasticity.rules import ttt_mlp as ttt_mlp
from plasticity.rules import yaad as yaad
from plasticity.rules.settings import PlasticSettings as PlasticSettings
from plasticity.rules.settings import modulated as modulated
from plasticity.settings import Settings as Settings
from plasticity.settings import setting as setting
from plasticity.settings import size as size
from plasticity.site_steps import associate_step as associate_step
from plasticity.task import Episode as Episode
from plasticity.task import Task as Task
from plasticity.task_checks import check_task as check_task
from plasticity.types import Activity as Activity
from plasticity.types import FastWeights as FastWeights
from plasticity.types import Form as Form
from plasticity.types import LayerShape as LayerShape
from plasticity.types import Memory as Memory
from plasticity.types import Outputs as Outputs
from plasticity.types import Plasticity as Plasticity
from plasticity.types import Rule as Rule
from plasticity.types import Site as Site
from plasticity.types import Synapse as Synapse
from plasticity.types import Token as Token
from plasticity.types import Write as Write

# Imported on first use, since they need more than JAX.
_LATER = {
    "Hyperparameters": "plasticity.learner",
    "Learner": "plasticity.learner",
    "MemoryLayer": "plasticity.layer",
    "MemoryLayerSettings": "plasticity.model",
    "Run": "plasticity.experiments.notebook",
    "open_run": "plasticity.experiments.notebook",
    "register_backbone": "plasticity.experiments.extend",
    "register_optimizer": "plasticity.experiments.extend",
    "register_rule": "plasticity.experiments.extend",
    "register_task": "plasticity.experiments.extend",
    "train": "plasticity.experiments.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        from plasticity.registry import meant  # no public name of this module

        hint = meant(name, [*_LATER, *globals()])
        raise AttributeError(f"module 'plasticity' has no attribute {name!r}{hint and f': {hint}'}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    """With the names that are imported on first use, for completion."""
    return sorted({*globals(), *_LATER})
