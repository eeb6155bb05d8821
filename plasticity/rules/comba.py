"""Comba: a gated delta rule whose error is read by a key of its own.

  M <- keep M;   M <- M + rate (value - M error_key) key^T,   answer M query

error_key is a gate of the token. The paper and its kernels read the error before the decay, its
plain reference code afterwards: `error` says which. With `corrected` the answer is
M (query - correction error_key), as in its networks; correction is a learned number.

Source: Hu et al. 2025 (arXiv 2506.02475). Departures: the error after the decay, and no
correction, are the defaults.
"""

import dataclasses

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.settings import setting
from plasticity.types import KEEP, RATE, Gate, Read, Rule, Site, Token, Write

ERROR_KEY = Gate("error_key", "scaled_key", "input")
CORRECTION = Gate("correction", "one")


@dataclasses.dataclass(frozen=True)
class CombaSettings(SiteSettings):
    """Settings of the rule."""

    error: str = setting(
        "decayed", "weights that the error is read from", choices=("decayed", "undecayed")
    )
    corrected: bool = setting(False, "take a multiple of the error key from the query")


def make(settings: CombaSettings) -> Rule:
    """The rule."""

    def write(token: Token, read: Read) -> Write:
        said = read(token.gates["error_key"])
        error = token.value - (token.keep * said if settings.error == "decayed" else said)
        return Write(error, token.key, token.rate, token.keep)

    if not settings.corrected:
        return site_rule(Site(write, takes=(RATE, KEEP, ERROR_KEY)))
    return site_rule(Site(write, takes=(RATE, KEEP, ERROR_KEY, CORRECTION), prepare=_corrected))


def _corrected(token: Token) -> Token:
    own = token.gates["correction"] * token.gates["error_key"]
    return token._replace(query=token.query - own)


comba = Factory(CombaSettings, make)
