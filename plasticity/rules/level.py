"""A level of a continuum memory: a net that stays for a period and then takes its gradients.

  w <- w - sum_t rate_t G_t   after every C tokens, G_t the gradient of |f(key; w) - value|^2 / 2 at
                              the w of the period
  answer  f(query; w of the period)

f is linear or a small network, C is `frozen`. A level whose rates are 0 is a net that learns across
episodes only.

Source: Behrouz et al. 2025 (arXiv 2512.24695), equations 70 and 71, as several transcriptions quote
them; the paper itself was not at hand. It leaves open which loss a level descends; this one is that
of TTT (Sun et al. 2024, arXiv 2407.04620), whose values are given. Departures: none known.
"""

import dataclasses

from plasticity.factory import Factory
from plasticity.rules.networks import NETS, GradientMemorySettings, gradient_site
from plasticity.rules.site_rules import site_rule
from plasticity.settings import setting
from plasticity.types import RATE, Rule


@dataclasses.dataclass(frozen=True)
class LevelSettings(GradientMemorySettings):
    """Settings of the rule; `frozen` is the period."""

    memory: str = setting("mlp", "the network", choices=NETS)


def make(settings: LevelSettings) -> Rule:
    """The rule."""
    order = "read_before_stretch"
    return site_rule(gradient_site(settings, lambda _, error: error, takes=(RATE,), order=order))


level = Factory(LevelSettings, make)
