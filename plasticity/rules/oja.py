"""Oja's rule, in its subspace form: the memory turns towards the directions in which keys vary.

  y = M key;   M <- M + rate (y key^T - y y^T M),   answer M query

There is no value: outputs find their own. The state starts with learned weights, since zero would
stay zero.

Source: Oja 1982 and 1989. Departures: none.
"""

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.types import RATE, Read, Rule, Site, Token, Write


def make(settings: SiteSettings) -> Rule:
    """The rule."""
    del settings
    return site_rule(Site(_write, linear=False, empty=False, takes=(RATE,), ignores=("value",)))


def _write(token: Token, read: Read) -> Write:
    y = read(token.key)
    unexplained = token.key - read(y, transposed=True)
    return Write(y, unexplained, token.rate, jnp.ones_like(token.keep))


oja = Factory(SiteSettings, make)
