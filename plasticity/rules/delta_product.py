"""DeltaProduct: several delta writes for each token, of keys and values of their own.

  M <- keep M, once per token;   then n times M <- M + rate_i (value_i - M key_i) key_i^T

With rates up to 2 a write is a reflection, and n of them reach any orthogonal map of rank n.

Source: Siems et al. 2025 (arXiv 2502.10297), gated. Departures: none.
"""

import dataclasses

from plasticity.factory import Factory
from plasticity.rules.gated_delta import GatedDeltaSettings
from plasticity.rules.gated_delta import make as make_gated_delta
from plasticity.settings import size
from plasticity.types import Rule


@dataclasses.dataclass(frozen=True)
class DeltaProductSettings(GatedDeltaSettings):
    """Settings of the rule."""

    writes: int = size(2, "n, writes per token")


def make(settings: DeltaProductSettings) -> Rule:
    """The rule."""
    rule = make_gated_delta(settings)
    assert rule.site is not None
    return rule._replace(site=rule.site._replace(writes=settings.writes))


delta_product = Factory(DeltaProductSettings, make)
