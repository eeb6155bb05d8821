"""Comba: a gated delta rule whose error is read by a key of its own.

  M <- keep M;   M <- M + rate (value - M error_key) key^T,   answer M query

error_key is a gate of the token.

Source: Hu et al. 2025 (arXiv 2506.02475). Departures: none.
"""

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.types import KEEP, RATE, Gate, Read, Rule, Site, Token, Write

ERROR_KEY = Gate("error_key", "scaled_key", "input")


def make(settings: SiteSettings) -> Rule:
    """The rule."""
    del settings
    return site_rule(Site(_write, takes=(RATE, KEEP, ERROR_KEY)))


def _write(token: Token, read: Read) -> Write:
    error = token.value - token.keep * read(token.gates["error_key"])
    return Write(error, token.key, token.rate, token.keep)


comba = Factory(SiteSettings, make)
