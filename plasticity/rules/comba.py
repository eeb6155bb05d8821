"""Comba: a gated delta rule whose error is read by a key of its own.

  M <- keep M;   M <- M + rate (value - M error_key) key^T,   answer M query

error_key is a gate of the token.

Source: Hu et al. 2025 (arXiv 2506.02475). Departures: none.
"""

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.types import Read, Rule, Site, Token, Write


def make(settings: SiteSettings) -> Rule:
    """The rule."""
    del settings
    return site_rule(Site(_write, takes=("rate", "keep", "error_key")))


def _write(token: Token, read: Read) -> Write:
    error = token.value - token.keep * read(token.gates["error_key"])
    return Write(error, token.key, token.rate, token.keep)


comba = Factory(SiteSettings, make)
