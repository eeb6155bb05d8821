"""Outer learners. An optimizer is one file here and one line in `OPTIMIZERS`."""

from plasticity.factory import Factory
from plasticity.outer.classp import classp
from plasticity.outer.m3 import m3
from plasticity.outer.optimizer import Optimizer
from plasticity.outer.standard import adamw, muon, sgd

OPTIMIZERS: dict[str, Factory[Optimizer]] = {
    "adamw": adamw,
    "sgd": sgd,
    "muon": muon,
    "m3": m3,
    "classp": classp,
}
