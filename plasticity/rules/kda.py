"""Kimi delta attention: a delta rule that forgets each channel of its keys at a rate of its own.

  M <- M diag(keep);   M <- M + rate (value - M key) key^T,   answer M query

Source: Kimi Team 2025 (arXiv 2510.26692). Departures: none; keys are used as they are given.
"""

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.types import KEEP, RATE, Form, Read, Rule, Site, Token, Write


def make(settings: SiteSettings) -> Rule:
    """The rule."""
    del settings
    return site_rule(Site(_write, takes=(RATE, KEEP)), Form("input"))


def _write(token: Token, read: Read) -> Write:
    error = token.value - read(token.keep * token.key)
    return Write(error, token.key, token.rate, token.keep)


kda = Factory(SiteSettings, make)
