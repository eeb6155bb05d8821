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
PROJECTIONS = ("trained", "fixed")
EPSILON = 1e-8  # the paper's, inside the root and beside it; keeps the norm differentiable at zero


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
    decay: str = "clipped"  # keep = 1 - eta with eta after the clip, or before it (unclipped)
    post: str = "linear"  # hebbian: post before the nonlinearity, or after it (activation)
    projection: str = "trained"  # gradient: P is learned, or stays as drawn (fixed)

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

    Args:
      deltas: {layer: (left [O], right [I])}; ||left right^T|| = ||left|| ||right||.
      modulator: g_t, [].
      settings: eta0, max_norm, norm_biases, decay.
    """
    count_biases = settings.norm_biases and settings.plastic_biases
    extra = 1.0 if count_biases else 0.0  # a bias is a weight from an input that is 1
    squares = [(left @ left) * (right @ right + extra) for left, right in deltas.values()]
    norm = jnp.sqrt(sum(squares) + EPSILON) + EPSILON
    unclipped = settings.eta0 * jax.nn.sigmoid(modulator)
    clip = jnp.where(settings.max_norm > 0, jnp.minimum(1.0, settings.max_norm / norm), 1.0)
    rate = unclipped * clip
    return rate, 1.0 - (rate if settings.decay == "clipped" else unclipped)
