"""Longhorn: the write that solves an online regression, so that no rate can overshoot.

  eps_i = theta_i / (1 + theta_i key . key)
  exact     M <- M + (eps * (value - M key)) key^T
  diagonal  M <- M * (1 - eps (key * key)^T) + (eps * value) key^T

`exact` minimises |M - M_old|^2 + sum_i theta_i (M key - value)_i^2 over M. `diagonal` is what its
authors train: the part of key key^T that acts on the state is cut to its diagonal. theta [O] is the
token's rate.

Source: Liu et al. 2024 (arXiv 2407.14207). Departures: none.
"""

import dataclasses

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.settings import setting
from plasticity.types import RATE, Array, Form, Read, Rule, Site, Token, Write


@dataclasses.dataclass(frozen=True)
class LonghornSettings(SiteSettings):
    """Settings of the rule."""

    form: str = setting(
        "diagonal", "as trained, or the exact minimum", choices=("exact", "diagonal")
    )


def make(settings: LonghornSettings) -> Rule:
    """The rule."""
    write, keep = {"exact": (_exact, "output"), "diagonal": (_diagonal, "synapse")}[settings.form]
    return site_rule(Site(write, takes=(RATE,)), Form(keep))


def _bounded(token: Token) -> Array:
    """eps, [O]."""
    # No product of matrices, which may be asked for in bfloat16.
    return token.rate / (1 + token.rate * (token.key**2).sum())


def _exact(token: Token, read: Read) -> Write:
    eps = _bounded(token)
    return Write(token.value - read(token.key), token.key, eps, jnp.ones_like(eps))


def _diagonal(token: Token, read: Read) -> Write:
    del read
    eps = jnp.broadcast_to(_bounded(token), token.value.shape)  # a rate may be that of all outputs
    keep = 1 - jnp.outer(eps, token.key**2)
    return Write(eps * token.value, token.key, jnp.ones_like(eps[0]), keep)


longhorn = Factory(LonghornSettings, make)
