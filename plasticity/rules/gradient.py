"""Gradient-based plasticity: fast weights follow the gradient of an internal loss.

  L_t = mean((P [y_t, a_t, g_t])^2),   delta_t = d L_t / d w_t = credit_t pre_t^T
  w_{t+1} = (1 - eta_t) w_t + eta_t alpha * delta_t,   b likewise with beta * credit_t

with y the answers, a the auxiliary outputs, g the modulator, and credit_t = d L_t / d post_t: a
layer is used once per step, so its weight gradient has rank one. The sign of the step is that of
alpha, which is learned: L may fall or rise (Duan et al. draw alpha from U(-1, 1)).

Source: Duan et al. 2023 (arXiv 2302.03235) as adapted by Chaudhary 2025 (arXiv 2510.21908), where
P is a learned square matrix. With `projection="elementwise"` it is diagonal, as in Duan et al., who
moreover take the mean over a batch of episodes, which makes the loss smaller by 1 / B
(`internal_scale`). Departures: none in the forward pass.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.settings import PlasticSettings, init_synapses, modulated
from plasticity.settings import setting
from plasticity.types import Array, Key, LayerShape, Outputs, Plasticity, Rule

PROJECTIONS = ("trained", "fixed", "elementwise")


@dataclasses.dataclass(frozen=True)
class GradientSettings(PlasticSettings):
    """Settings of the rule."""

    projection: str = setting("trained", "P, the matrix of the loss", choices=PROJECTIONS)
    internal_scale: float = setting(1.0, "factor of the internal loss", above=0)


def make(settings: GradientSettings) -> Rule:
    """The rule."""

    def init(key: Key, shapes: Mapping[str, LayerShape], head: int) -> Plasticity:
        synapse_key, projection_key = jax.random.split(key)
        synapses = init_synapses(synapse_key, shapes, settings)
        if settings.projection == "elementwise":
            return Plasticity(synapses, jnp.ones((head,), jnp.float32))
        bound = head**-0.5
        projection = jax.random.uniform(
            projection_key, (head, head), jnp.float32, minval=-bound, maxval=bound
        )
        return Plasticity(synapses, projection)

    def internal_loss(theta: Plasticity, outputs: Outputs) -> Array:
        projection = theta.projection
        assert projection is not None  # init made one
        if settings.projection == "fixed":
            projection = jax.lax.stop_gradient(projection)
        everything = jnp.concatenate(
            [outputs.task, outputs.auxiliary, jnp.expand_dims(outputs.modulator, -1)], axis=-1
        )
        product = projection * everything if projection.ndim == 1 else projection @ everything
        return settings.internal_scale * jnp.mean(product**2)

    return modulated(
        settings, lambda layer: (layer.credit, layer.pre), init=init, internal_loss=internal_loss
    )


gradient = Factory(GradientSettings, make)
