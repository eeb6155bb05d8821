"""Delta gradient descent: the gradient step of a proximal problem, which decays along its input.

  M <- M (keep I - eta key key^T) - eta G,   eta = rate / (1 + rate |key|^2),   answer M query

G = e key^T is the gradient of the memory's loss. `squares`: |M key - value|^2 / 2, e = M key -
value. `product`: -value . M key, e = -value. With keep 1 the step minimises over W

  |W key + e|^2 / 2 + |W - M|^2 / (2 rate)

As a sequence of writes it is no rule of its own: `product` is Longhorn with one rate for all
outputs, the delta rule at the rate eta; `squares`, which takes the error twice, is the delta rule
of half the value at the rate 2 eta. For a key of unit length and a rate above 1, 2 eta is above 1,
and the rule reflects what it read. All errors are taken at the undecayed state.

Source: Behrouz et al. 2025 (arXiv 2512.24695), equations 56, 57 and, with decay, 88, 92 and 93, as
three independent transcriptions quote them; the paper itself was not at hand. Departure: the source
has keys of one length, and so eta = rate / (1 + rate).
"""

import dataclasses

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.settings import setting
from plasticity.types import KEEP, RATE, Read, Rule, Site, Token, Write

ERRORS = {"squares": 2, "product": 1}  # how often the write has M key in it


@dataclasses.dataclass(frozen=True)
class DgdSettings(SiteSettings):
    """Settings of the rule."""

    loss: str = setting("squares", "of the memory: an error, or a product", choices=ERRORS)


def make(settings: DgdSettings) -> Rule:
    """The rule."""

    def write(token: Token, read: Read) -> Write:
        # No product of matrices, which may be asked for in bfloat16.
        eta = token.rate / (1 + token.rate * (token.key**2).sum())
        left = token.value - ERRORS[settings.loss] * read(token.key)
        return Write(left, token.key, eta, token.keep)

    return site_rule(Site(write, takes=(RATE, KEEP)))


dgd = Factory(DgdSettings, make)
