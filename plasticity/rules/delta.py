"""The delta rule: a write corrects what the fast weights already say.

  feed-forward site  delta_t = (slow_t - recall_t) right_t^T
                     w_{t+1} = keep_t w_t + eta_t alpha * delta_t
  memory site        M <- M + rate (value - M key) key^T,   answer M query

slow_t is the output of the layer without its fast part, recall_t the fast part: the fast weights
learn to say what the slow weights say. right_t is pre_t / ||pre_t||^2 or, if not `normalise_pre`,
pre_t. A write reaches biases with fast weights as well: they correct the same error a second time,
and only without them (`plastic_biases`) does a rate of 1 correct exactly. eta_t and keep_t are
those of the other rules; keep_t depends on the size of delta_t, so the error is taken at the
undecayed state. The gated forms at a memory site are gated_delta and kda.

Source: Widrow and Hoff 1960; as a memory Schlag et al. 2021 (arXiv 2102.11174). Departure: keys of
a memory site are used as they are; the source normalises them before.
"""

import dataclasses

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.settings import PlasticSettings, modulated
from plasticity.settings import setting
from plasticity.types import RATE, Activity, Array, Read, Rule, Site, Token, Write


@dataclasses.dataclass(frozen=True)
class DeltaSettings(PlasticSettings):
    """Settings of the rule. A feed-forward site forgets only what it corrects."""

    decay_ratio: float = setting(0.0, "keep = 1 - decay_ratio * eta", low=0)
    normalise_pre: bool = setting(
        True, "write pre / ||pre||^2: without biases, a rate of 1 corrects exactly"
    )


def make(settings: DeltaSettings) -> Rule:
    """The rule."""

    def delta(layer: Activity) -> tuple[Array, Array]:
        right = _over_square(layer.pre) if settings.normalise_pre else layer.pre
        return layer.value - layer.recall, right

    return modulated(settings, delta, site=Site(_associate, takes=(RATE,)))


def _associate(token: Token, read: Read) -> Write:
    error = token.value - read(token.key)
    return Write(error, token.key, token.rate, jnp.ones_like(token.keep))


def _over_square(pre: Array) -> Array:
    """pre / ||pre||^2: at a rate of 1 the corrected matrix says exactly what it should."""
    largest = jax.lax.stop_gradient(jnp.abs(pre).max(initial=0.0))  # whose square may overflow
    unit = pre / jnp.where(largest > 0, largest, 1)
    return unit / jnp.where(largest > 0, (unit @ unit) * largest, 1)


delta = Factory(DeltaSettings, make)
