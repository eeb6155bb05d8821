"""What the rules have in common: their settings, their coefficients, their rate."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from plasticity import synapse
from plasticity.registry import check_choice
from plasticity.types import Array, Key, LayerShape, Scalar, Synapse

DECAYS = ("clipped", "unclipped")
POSTS = ("linear", "activation")
PROJECTIONS = ("trained", "fixed", "elementwise")


@dataclasses.dataclass(frozen=True)
class RuleSettings:
    """Every variant of the rules, as explicit values. Defaults: Chaudhary 2025.

    eta0 and max_norm may be traced arrays: a sweep over them compiles once.
    """

    eta0: Scalar = 0.2  # largest rate
    max_norm: Scalar = 1.0  # global clip of ||delta||; 0: no clip
    alpha: str = "per_synapse"  # per_synapse | per_neuron | shared
    alpha_init: str = "constant"  # constant | uniform (signed)
    alpha_scale: float = 0.02
    plastic_biases: bool = True
    norm_biases: bool = False  # whether biases count in ||delta||
    norm_epsilon: float = 1e-8  # added to ||delta||, inside the root and beside it
    decay: str = "clipped"  # keep = 1 - eta with eta after the clip, or before it (unclipped)
    decay_ratio: float = 1.0  # keep = 1 - ratio * eta
    modulated: bool = True  # False: sigmoid(g) = 1/2, whatever the network says
    post: str = "linear"  # hebbian: post before the nonlinearity, or after it (activation)
    projection: str = "trained"  # gradient: P learned | fixed (as drawn) | elementwise (diagonal)
    internal_scale: float = 1.0  # gradient: factor of the internal loss

    def __post_init__(self) -> None:
        check_choice(self.alpha, synapse.MODES, "rule.alpha")
        check_choice(self.alpha_init, synapse.INITIALIZERS, "rule.alpha_init")
        check_choice(self.decay, DECAYS, "rule.decay")
        check_choice(self.post, POSTS, "rule.post")
        check_choice(self.projection, PROJECTIONS, "rule.projection")


def init_synapses(
    key: Key, shapes: Mapping[str, LayerShape], settings: RuleSettings
) -> dict[str, Synapse]:
    """Coefficients of all layers."""
    keys = jax.random.split(key, max(len(shapes), 1))
    return {
        name: synapse.init(
            layer_key,
            shape,
            mode=settings.alpha,
            initializer=settings.alpha_init,
            scale=settings.alpha_scale,
            plastic_bias=settings.plastic_biases,
        )
        for layer_key, (name, shape) in zip(keys, sorted(shapes.items()), strict=False)
    }


def rate_and_keep(
    deltas: Mapping[str, tuple[Array, Array]], modulator: Array, settings: RuleSettings
) -> tuple[Array, Array]:
    """The neuromodulated, globally clipped rate eta_t and the decay 1 - eta_t, both [].

      eta_t = eta0 * sigmoid(g_t) * min(1, max_norm / ||delta_t||)        (Chaudhary 2025)
      keep_t = 1 - decay_ratio * eta_t, eta_t with the clip or without

    Duan et al. 2023 write p 2 sigmoid(g), which is eta0 = 2 p, and decay without the clip.

    Args:
      deltas: {layer: (left [O], right [I])}; ||left right^T|| = ||left|| ||right||.
      modulator: g_t, [].
      settings: eta0, max_norm, norm_biases, norm_epsilon, decay, decay_ratio, modulated.
    """
    count_biases = settings.norm_biases and settings.plastic_biases
    extra = 1.0 if count_biases else 0.0  # a bias is a weight from an input that is 1
    squares = [(left @ left) * (right @ right + extra) for left, right in deltas.values()]
    total = sum(squares) + settings.norm_epsilon
    # No write, no epsilon: the root has no derivative there, and nothing is to be clipped.
    norm = jnp.sqrt(jnp.where(total > 0, total, 1.0)) + settings.norm_epsilon
    norm = jnp.where(total > 0, norm, 0.0)
    gate = jax.nn.sigmoid(modulator if settings.modulated else jnp.zeros_like(modulator))
    unclipped = settings.eta0 * gate
    most = jnp.where(settings.max_norm > 0, settings.max_norm, 1.0)
    clip = jnp.where(settings.max_norm > 0, most / jnp.maximum(most, norm), 1.0)
    rate = unclipped * clip
    return rate, 1.0 - settings.decay_ratio * (rate if settings.decay == "clipped" else unclipped)
