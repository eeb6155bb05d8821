"""Memora: a memory whose weights stay on a simplex, by a step of mirror descent.

  w <- total softmax(keep log w - rate G), row by row;   G the gradient of |f(key; w) - value|^2 / 2

The state is log w, so that no logarithm is taken.

Source: Behrouz et al. 2025, Miras (arXiv 2504.13173). Departures: none.
"""

import dataclasses

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.networks import GradientMemorySettings, gradient_site
from plasticity.rules.site_rules import site_rule
from plasticity.settings import setting
from plasticity.types import Array, Form, Rule


@dataclasses.dataclass(frozen=True)
class MemoraSettings(GradientMemorySettings):
    """Settings of the rule."""

    total: float = setting(1.0, "sum of each row of the weights", above=0)


def make(settings: MemoraSettings) -> Rule:
    """The rule."""

    def settle(logarithms: Array) -> Array:
        return jax.nn.log_softmax(logarithms) + jnp.log(settings.total)

    form = Form(settle=settle, to_weights=jnp.exp)
    return site_rule(gradient_site(settings, lambda token, error: error, empty=False), form)


memora = Factory(MemoraSettings, make)
