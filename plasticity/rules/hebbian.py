"""Neuromodulated Hebbian plasticity.

  delta_t = post_t pre_t^T,   eta_t = eta0 sigmoid(g_t) min(1, max_norm / ||delta_t||)
  w_{t+1} = (1 - eta_t) w_t + eta_t alpha * delta_t,   b likewise with beta * post_t

Source: Chaudhary 2025 (arXiv 2510.21908), after Miconi et al. 2018 and Duan et al. 2023.
Departures: none in the forward pass; the outer gradient flows through the writes unless it is
truncated.
"""

import dataclasses
from collections.abc import Mapping

from plasticity.factory import Factory
from plasticity.rules.settings import (
    PlasticSettings,
    check_one_episode,
    init_synapses,
    rate_and_keep,
)
from plasticity.settings import setting
from plasticity.types import Activity, Array, Key, LayerShape, Plasticity, Rule, Write


@dataclasses.dataclass(frozen=True)
class HebbianSettings(PlasticSettings):
    """Settings of the rule."""

    post: str = setting(
        "linear", "post before or after the nonlinearity", choices=("linear", "activation")
    )


def make(settings: HebbianSettings) -> Rule:
    """The rule."""

    def init(key: Key, shapes: Mapping[str, LayerShape], head: int) -> Plasticity:
        del head
        return Plasticity(init_synapses(key, shapes, settings), projection=None)

    def write(
        theta: Plasticity, modulator: Array, activities: Mapping[str, Activity]
    ) -> dict[str, Write]:
        del theta
        check_one_episode(modulator, activities)
        deltas = {
            name: (a.post if settings.post == "linear" else a.activation, a.pre)
            for name, a in activities.items()
        }
        rate, keep = rate_and_keep(deltas, modulator, settings)
        return {name: Write(left, right, rate, keep) for name, (left, right) in deltas.items()}

    return Rule(init, write)


hebbian = Factory(HebbianSettings, make)
