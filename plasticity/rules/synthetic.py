"""Synthetic gradients: a net of each layer emits the error that the gradient rule would compute.

  emitted_t = emit(pre_t, post_t), in place of credit_t; see `plasticity.rules.emitter`
  w_{t+1} = (1 - eta_t) w_t + eta_t alpha * emitted_t pre_t^T,   otherwise as in `gradient`
  auxiliary loss: auxiliary * sum over layers of mean((emitted_t - credit_t)^2)

The auxiliary loss trains emitters alone, across episodes: the true error, credit_t, is a constant
of it. A write needs no pass back through the network.

Source: Jaderberg et al. 2017 (arXiv 1608.05343), there for slow weights. Departures: emitters see
the input of their layer too; they do not start at zero, where alpha would have no gradient; P of
the internal loss stays as it starts, since no gradient reaches it.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.emitter import emit, init_emitters
from plasticity.rules.gradient import gradient
from plasticity.rules.settings import PlasticSettings, check_one_episode
from plasticity.settings import setting, size
from plasticity.types import Activity, Array, Key, LayerShape, Plasticity, Rule, Write


@dataclasses.dataclass(frozen=True)
class SyntheticSettings(PlasticSettings):
    """Settings of the rule."""

    hidden: int = size(0, "hidden units of an emitter; 0: it is linear", low=0)
    auxiliary: float = setting(1.0, "weight of the distance to the true error", low=0)
    meta: bool = setting(True, "the outer loss trains emitters too, through the writes")

    def check(self) -> None:
        """Raises ValueError if nothing trains the emitters."""
        if not (self.auxiliary or self.meta):
            raise ValueError("rule.auxiliary=0.0 must be greater than 0 if rule.meta=False")


def make(settings: SyntheticSettings) -> Rule:
    """The rule."""
    exact = gradient(projection="fixed", **PlasticSettings.pick(vars(settings)))

    def init(key: Key, shapes: Mapping[str, LayerShape], head: int) -> Plasticity:
        theta = exact.init(key, shapes, head)
        return theta._replace(emitters=init_emitters(key, shapes, settings.hidden))

    def write(
        theta: Plasticity, modulator: Array, activities: Mapping[str, Activity]
    ) -> dict[str, Write]:
        check_one_episode(modulator, activities)
        assert exact.write is not None
        by = theta.emitters if settings.meta else jax.lax.stop_gradient(theta.emitters)
        told = {n: a._replace(credit=emit(by[n], a)) for n, a in activities.items()}
        return exact.write(theta, modulator, told)

    def auxiliary(theta: Plasticity, activities: Mapping[str, Activity]) -> Array:
        seen = jax.lax.stop_gradient(activities)
        errors = [emit(theta.emitters[n], a) - a.credit for n, a in seen.items()]
        return settings.auxiliary * jnp.stack([jnp.mean(error**2) for error in errors]).sum()

    return exact._replace(init=init, write=write, auxiliary=auxiliary)


synthetic = Factory(SyntheticSettings, make)
