"""Hebb's rule as a memory: linear attention.

  M <- M diag(keep) + rate value key^T,   answer M query

keep is one number per step (RetNet, Mamba 2, simple GLA) or one per input (GLA); without it the
memory sums. `normalised` divides the answer by query . z, with z <- keep z + rate key; keys and
queries must then be positive, as after a positive feature map.

Source: Katharopoulos et al. 2020 (arXiv 2006.16236), with decay Sun et al. 2023 (arXiv 2307.08621),
per channel Yang et al. 2023 (arXiv 2312.06635). Departures: none.
"""

import dataclasses

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.settings import setting
from plasticity.types import KEEP, RATE, Array, Form, Read, Rule, Site, Token, Write

SUM_EPSILON = 1e-10


@dataclasses.dataclass(frozen=True)
class HebbSettings(SiteSettings):
    """Settings of the rule."""

    keep_per: str = setting("scalar", "what has a keep of its own", choices=("scalar", "input"))
    normalised: bool = setting(False, "answers over query . sum of keys; for features >= 0")


def make(settings: HebbSettings) -> Rule:
    """The rule."""
    site = Site(_write, takes=(RATE, KEEP))
    if settings.normalised:
        site = site._replace(prepare=_with_one, answer=_over_sum)
    return site_rule(site, Form(settings.keep_per))


def _write(token: Token, read: Read) -> Write:
    del read
    return Write(token.value, token.key, token.rate, token.keep)


def _with_one(token: Token) -> Token:
    """A further output whose value is 1, which sums the keys."""
    return token._replace(value=jnp.append(token.value, 1))


def _over_sum(token: Token, read: Read) -> Array:
    recalled = read(token.query)
    return recalled[:-1] / (recalled[-1] + SUM_EPSILON)


hebb = Factory(HebbSettings, make)
