"""The gated Oja rule: a delta rule with keys and values exchanged.

  M <- diag(keep) M;   M <- M + rate value (key - M^T value)^T,   answer M query

The state is stored as its transpose N = M^T, for which this is a delta rule with a keep per input:
N <- N diag(keep); N <- N + rate (key - N value) value^T; the answer is N^T query. Values should
have unit length (site.value_norm=unit): the state explodes where rate |value|^2 passes 2.

Source: flash-linear-attention's Oja layer, after Oja 1982. Departures: none.
"""

from plasticity.factory import Factory
from plasticity.rules.kda import make as make_delta
from plasticity.rules.site_rules import SiteSettings
from plasticity.types import Array, Read, Rule, Token


def make(settings: SiteSettings) -> Rule:
    """The rule."""
    rule = make_delta(settings)
    assert rule.site is not None
    site = rule.site._replace(prepare=_exchanged, answer=_transposed, asks="transposed")
    return rule._replace(site=site)


def _exchanged(token: Token) -> Token:
    return token._replace(key=token.value, value=token.key)


def _transposed(token: Token, read: Read) -> Array:
    return read(token.query, transposed=True)


oja_gated = Factory(SiteSettings, make)
