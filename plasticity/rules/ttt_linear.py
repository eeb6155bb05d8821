"""TTT-Linear: a linear layer, its bias and a fixed layer norm, trained on the stream it reads.

  loss of token j  |norm(f(key_j)) - (value_j - key_j)|^2 / 2,   f(z) = W z + b
  W_t = W_0 - sum_{j <= t} eta_tj g_j,   eta_tj = base_rate max(token_rate_t, 0) rate_j / I
  answer  query_t + norm(f(query_t; W_t))

g_j is the gradient at the weights W_0 before a mini-batch of `frozen` tokens, whose last weights
the next one starts from. norm has an affine part, the gates gamma and shift. token_rate, a gate,
belongs to the token that reads.

Source: Sun et al. 2024 (arXiv 2407.04620) and its released code. Departures: none.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.credit import pullback
from plasticity.rules.networks import normalised, same_width
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.settings import setting, size
from plasticity.types import RATE, Array, Form, Gate, Read, Rule, Site, Token, Write

Net = Callable[[Array, Read], Array]
TAKES = (
    RATE,
    Gate("token_rate", "average"),
    Gate("gamma", "one", "output"),
    Gate("shift", "zero", "output"),
)


@dataclasses.dataclass(frozen=True)
class TTTSettings(SiteSettings):
    """Settings of the rule."""

    frozen: int = size(16, "tokens of a mini-batch")
    base_rate: float = setting(1.0, "of all tokens", above=0)


def ttt_rule(settings: TTTSettings, net: Net, **parts: Any) -> Rule:
    """The rule for a network f. **parts: further fields of `Site`."""

    def norm(token: Token, z: Array) -> Array:
        return token.gates["gamma"] * normalised(z) + token.gates["shift"]

    def write(token: Token, read: Read) -> Any:
        said, credits = pullback(lambda read: norm(token, net(token.key, read)), read)
        found = credits(said - (token.value - token.key))
        rate = settings.base_rate * token.rate / len(token.key)
        one = jnp.ones_like(rate)
        writes = {layer: Write(-left, right, rate, one) for layer, (left, right) in found.items()}
        return writes.get("", writes)

    site = Site(
        write,
        linear=False,
        frozen=settings.frozen,
        reach=lambda token: jnp.maximum(token.gates["token_rate"], 0),
        empty=False,
        takes=TAKES,
        prepare=same_width,
        answer=lambda token, read: token.query + norm(token, net(token.query, read)),
    )
    return site_rule(site._replace(**parts), Form(bias=True))


def make(settings: TTTSettings) -> Rule:
    """The rule."""
    return ttt_rule(settings, lambda z, read: read(z))


ttt_linear = Factory(TTTSettings, make)
