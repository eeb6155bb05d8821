"""RWKV-7: a delta rule that removes along one direction and writes along another.

  M <- M diag(keep) - (M removal)(removal * a)^T + value key^T,   answer M query

M on the right is the old one in both terms: the error is taken at the undecayed state. removal
(unit length) and a (in (0, 1)) are gates of the token. There is no rate: the published networks
scale the key by 1 + (a - 1) share, with a learned share per channel, which is `scaled`.

Source: Peng et al. 2025 (arXiv 2503.14456). Departure: keys are not scaled by default.
"""

import dataclasses

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.settings import setting
from plasticity.types import KEEP, Form, Gate, Read, Rule, Site, Token, Write

REMOVAL, A = Gate("removal", "key_direction", "input"), Gate("a", "unit", "input")


@dataclasses.dataclass(frozen=True)
class RWKV7Settings(SiteSettings):
    """Settings of the rule."""

    scaled: bool = setting(False, "scale the key by 1 + (a - 1) share")


def make(settings: RWKV7Settings) -> Rule:
    """The rule."""
    form = Form("input", terms=2)
    if not settings.scaled:
        return site_rule(Site(_write, takes=(KEEP, REMOVAL, A)), form)
    takes = (KEEP, REMOVAL, A, Gate("share", "one", "input"))
    return site_rule(Site(_write, takes=takes, prepare=_scaled), form)


def _scaled(token: Token) -> Token:
    scale = 1 + (token.gates["a"] - 1) * token.gates["share"]
    return token._replace(key=token.key * scale)


def _write(token: Token, read: Read) -> Write:
    removal, a = token.gates["removal"], token.gates["a"]
    left = jnp.stack([-read(removal), token.value])
    return Write(left, jnp.stack([removal * a, token.key]), jnp.ones_like(token.rate), token.keep)


rwkv7 = Factory(RWKV7Settings, make)
