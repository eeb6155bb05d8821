"""The gated delta rule: forget, then correct what is left.

  M <- keep M;   M <- M + rate (value - M key) key^T,   answer M query

keep is one number per step, or one per output, M <- diag(keep) M. A keep of 1 is the delta rule.

Source: Yang et al. 2024 (arXiv 2412.06464). Departures: none; keys are used as they are given, and
the layer normalises them.
"""

import dataclasses

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.settings import setting
from plasticity.types import KEEP, RATE, Form, Read, Rule, Site, Token, Write


@dataclasses.dataclass(frozen=True)
class GatedDeltaSettings(SiteSettings):
    """Settings of the rule."""

    keep_per: str = setting("scalar", "what has a keep of its own", choices=("scalar", "output"))


def make(settings: GatedDeltaSettings) -> Rule:
    """The rule."""
    return site_rule(Site(_write, takes=(RATE, KEEP)), Form(settings.keep_per))


def _write(token: Token, read: Read) -> Write:
    error = token.value - token.keep * read(token.key)
    return Write(error, token.key, token.rate, token.keep)


gated_delta = Factory(GatedDeltaSettings, make)
