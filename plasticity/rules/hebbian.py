"""Neuromodulated Hebbian plasticity.

  delta_t = post_t pre_t^T,   eta_t = eta0 sigmoid(g_t) min(1, max_norm / ||delta_t||)
  w_{t+1} = (1 - eta_t) w_t + eta_t alpha * delta_t,   b likewise with beta * post_t

At a memory site, linear attention: M <- keep M + rate value key^T, answer M query; `normalised`
divides the answer by query . z, z <- keep z + rate key (Katharopoulos et al. 2020, arXiv
2006.16236, whose positive feature map is the caller's).

Source: Chaudhary 2025 (arXiv 2510.21908), after Miconi et al. 2018 and Duan et al. 2023.
Departures: none in the forward pass; the outer gradient flows through the writes unless it is
truncated.
"""

import dataclasses

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.settings import KEEPS, PlasticSettings, modulated
from plasticity.settings import setting
from plasticity.types import Activity, Array, Form, Read, Rule, Site, Token, Write

SUM_EPSILON = 1e-10


@dataclasses.dataclass(frozen=True)
class HebbianSettings(PlasticSettings):
    """Settings of the rule."""

    post: str = setting(
        "linear", "post before or after the nonlinearity", choices=("linear", "activation")
    )
    keep_per: str = setting("scalar", "keep of a memory site", choices=KEEPS)
    normalised: bool = setting(False, "memory site: answers over query . sum of keys")


def make(settings: HebbianSettings) -> Rule:
    """The rule."""

    def delta(layer: Activity) -> tuple[Array, Array]:
        return (layer.post if settings.post == "linear" else layer.activation), layer.pre

    site = Site(_associate)
    if settings.normalised:
        site = Site(_associate, prepare=_with_one, answer=_over_sum)
    return modulated(settings, delta, form=Form(settings.keep_per), site=site)


def _associate(token: Token, read: Read) -> Write:
    del read
    return Write(token.value, token.key, token.rate, token.keep)


def _with_one(token: Token) -> Token:
    """A further output whose value is 1, which sums the keys."""
    return token._replace(value=jnp.append(token.value, 1))


def _over_sum(token: Token, read: Read) -> Array:
    recalled = read(token.query)
    return recalled[:-1] / (recalled[-1] + SUM_EPSILON)


hebbian = Factory(HebbianSettings, make)
