"""Yaad: a memory that descends a loss which large errors enter with a bounded slope.

  w <- keep w - rate G,   slope of the loss at e = f(key) - value:
  e where |e| <= threshold;  else  printed: threshold sign(e)   huber: threshold e / |e|

threshold is a gate. The printed form jumps at the threshold; `huber` is the gradient of Huber's
loss of |e|, the stated aim.

Source: Behrouz et al. 2025, Miras (arXiv 2504.13173). Departures: none.
"""

import dataclasses

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.networks import GradientMemorySettings, gradient_site
from plasticity.rules.site_rules import site_rule
from plasticity.settings import setting
from plasticity.types import KEEP, RATE, Array, Gate, Rule, Token


def _norm(error: Array) -> Array:
    """|e|, whose derivative at 0 is 0."""
    square = (error**2).sum()  # no product of matrices, which may be asked for in bfloat16
    return jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def _printed(error: Array, norm: Array) -> Array:
    del norm
    return jnp.sign(error)


def _huber(error: Array, norm: Array) -> Array:
    return error / jnp.where(norm == 0, 1.0, norm)


TAILS = {"printed": _printed, "huber": _huber}


@dataclasses.dataclass(frozen=True)
class YaadSettings(GradientMemorySettings):
    """Settings of the rule."""

    tail: str = setting(
        "huber", "the slope of large errors; printed: as in the paper", choices=TAILS
    )


def make(settings: YaadSettings) -> Rule:
    """The rule."""

    def slope(token: Token, error: Array) -> Array:
        norm, threshold = _norm(error), token.gates["threshold"]
        inside = norm <= threshold
        bound = jnp.where(inside, 1.0, threshold)  # an infinite one would have gradients of NaN
        return jnp.where(inside, error, bound * TAILS[settings.tail](error, norm))

    takes = (RATE, KEEP, Gate("threshold", "positive"))
    return site_rule(gradient_site(settings, slope, takes=takes))


yaad = Factory(YaadSettings, make)
