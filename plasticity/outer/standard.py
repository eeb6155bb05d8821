"""Optimizers that Optax has: Adam, gradient descent with momentum, Muon.

  adamw  m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
         direction = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
  sgd    m <- momentum m + g;   direction = m, or, by Nesterov, g + momentum m
  muon   m <- momentum m + (1 - momentum) g;   direction = rms sqrt(max(I, O)) NewtonSchulz(m)

NewtonSchulz is a polynomial iteration that maps a weight matrix U S V^T to about U V^T. Entries of
Muon's direction have a root mean square near `rms`, like Adam's .2: both share a learning rate.

Source: Kingma and Ba 2015 (arXiv 1412.6980); Polyak 1964 and Sutskever et al. 2013; Jordan et al.
2024, with the scale of Liu et al. 2025 (arXiv 2502.16982). Departure: Muon takes embedding and head
for matrices like others.
"""

import dataclasses

import jax
import optax
from optax import contrib

from plasticity.factory import Factory
from plasticity.outer.optimizer import Optimizer
from plasticity.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class AdamwSettings(Settings):
    """Settings of Adam. They are constants of the program: traced, 1 - b1 would round."""

    section = "optimizer"
    b1: float = setting(0.9, "keep of the mean of the gradient", low=0, below=1)
    b2: float = setting(0.999, "keep of the mean of its square", low=0, below=1)
    epsilon: float = setting(1e-8, "added to the root of that mean", above=0)


@dataclasses.dataclass(frozen=True)
class SgdSettings(Settings):
    """Settings of gradient descent."""

    section = "optimizer"
    momentum: float = setting(0.9, "keep of the sum of gradients", low=0, below=1, traced=True)
    nesterov: bool = setting(False, "look ahead by one more step of the momentum")


@dataclasses.dataclass(frozen=True)
class MuonSettings(Settings):
    """Settings of Muon."""

    section = "optimizer"
    momentum: float = setting(0.95, "keep of the mean gradient", low=0, below=1, traced=True)
    nesterov: bool = setting(True, "look ahead by one more step of the momentum")
    rms: float = setting(0.2, "root mean square of a direction's entries", above=0, traced=True)


def _muon(settings: MuonSettings) -> Optimizer:
    orthogonal = contrib.scale_by_muon(
        beta=settings.momentum,
        nesterov=settings.nesterov,
        weight_dimension_numbers=lambda updates: jax.tree.map(
            lambda _: contrib.MuonDimensionNumbers(), updates
        ),
    )
    scaled = optax.stateless_with_tree_map(lambda u, _: settings.rms * max(u.shape) ** 0.5 * u)
    return Optimizer(optax.chain(orthogonal, scaled), matrices_only=True)


adamw = Factory(AdamwSettings, lambda s: Optimizer(optax.scale_by_adam(s.b1, s.b2, s.epsilon)))
sgd = Factory(SgdSettings, lambda s: Optimizer(optax.trace(s.momentum, s.nesterov)))
muon = Factory(MuonSettings, _muon)
