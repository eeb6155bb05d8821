"""Neuromodulated Hebbian plasticity.

  delta_t = post_t pre_t^T,   eta_t = eta0 sigmoid(g_t) min(1, max_norm / ||delta_t||)
  w_{t+1} = (1 - eta_t) w_t + eta_t alpha * delta_t,   b likewise with beta * post_t

At a memory site, sums of outer products are the rule `hebb`.

Source: Chaudhary 2025 (arXiv 2510.21908), after Miconi et al. 2018 and Duan et al. 2023.
Departures: none in the forward pass; the outer gradient flows through the writes unless it is
truncated.
"""

import dataclasses

from plasticity.factory import Factory
from plasticity.rules.settings import PlasticSettings, modulated
from plasticity.settings import setting
from plasticity.types import Activity, Array, Rule


@dataclasses.dataclass(frozen=True)
class HebbianSettings(PlasticSettings):
    """Settings of the rule."""

    post: str = setting(
        "linear", "post before or after the nonlinearity", choices=("linear", "activation")
    )


def make(settings: HebbianSettings) -> Rule:
    """The rule."""

    def delta(layer: Activity) -> tuple[Array, Array]:
        return (layer.post if settings.post == "linear" else layer.activation), layer.pre

    return modulated(settings, delta)


hebbian = Factory(HebbianSettings, make)
