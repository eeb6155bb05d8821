"""MesaNet: the best linear read of all that was written.

  M <- keep M + rate value key^T;   K <- keep K + rate key key^T
  answer M (K + diag(ridge))^-1 query

which is the prediction at `query` of the ridge regression of values on keys. M and K are one trace:
its first O rows are M, its other I rows are K. ridge [I] is a gate; it is not accumulated.

Source: von Oswald et al. 2025 (arXiv 2506.05233). Departure: the system is solved exactly, not by
a few steps of conjugate gradients.
"""

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.solves import solve_positive
from plasticity.types import KEEP, RATE, Array, Gate, Read, Rule, Site, Token, Write


def make(settings: SiteSettings) -> Rule:
    """The rule."""
    del settings
    takes = (RATE, KEEP, Gate("ridge", "ridge", "input"))
    return site_rule(Site(_write, takes=takes, prepare=_with_key, answer=_best, asks="freely"))


def _with_key(token: Token) -> Token:
    return token._replace(value=jnp.concatenate([token.value, token.key]))


def _write(token: Token, read: Read) -> Write:
    del read
    return Write(token.value, token.key, token.rate, token.keep)


def _best(token: Token, read: Read) -> Array:
    inputs = len(token.query)
    whole = jax.vmap(read)(jnp.eye(inputs, dtype=token.query.dtype)).T
    second_moment = whole[-inputs:] + jnp.diag(token.gates["ridge"])
    return whole[:-inputs] @ solve_positive(second_moment, token.query)


mesa = Factory(SiteSettings, make)
