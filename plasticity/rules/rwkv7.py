"""RWKV-7: a delta rule that removes along one direction and writes along another.

  M <- M diag(keep) - (M removal)(removal * a)^T + value key^T,   answer M query

M on the right is the old one in both terms: the error is taken at the undecayed state. removal
(unit length) and a (in (0, 1)) are gates of the token; the rate is 1, since the key is scaled.

Source: Peng et al. 2025 (arXiv 2503.14456). Departures: none.
"""

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.types import KEEP, Form, Gate, Read, Rule, Site, Token, Write


def make(settings: SiteSettings) -> Rule:
    """The rule."""
    del settings
    takes = (KEEP, Gate("removal", "key_direction", "input"), Gate("a", "unit", "input"))
    return site_rule(Site(_write, takes=takes), Form("input", terms=2))


def _write(token: Token, read: Read) -> Write:
    removal, a = token.gates["removal"], token.gates["a"]
    left = jnp.stack([-read(removal), token.value])
    return Write(left, jnp.stack([removal * a, token.key]), jnp.ones_like(token.rate), token.keep)


rwkv7 = Factory(SiteSettings, make)
