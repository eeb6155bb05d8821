"""What the rules share: their settings, coefficients, rate and checks; `modulated` makes a rule."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from plasticity import synapse
from plasticity.settings import Settings, setting
from plasticity.types import (
    Activity,
    Array,
    Key,
    LayerShape,
    Plasticity,
    Rule,
    Scalar,
    Synapse,
    Write,
)

DECAYS = ("clipped", "unclipped")


@dataclasses.dataclass(frozen=True)
class PlasticSettings(Settings):
    """What all plastic rules share. Defaults: Chaudhary 2025."""

    section = "rule"
    eta0: Scalar = setting(  # noqa: RUF009
        0.2, "largest learning rate of a write", traced=True, low=0
    )
    max_norm: Scalar = setting(  # noqa: RUF009
        1.0, "global clip of ||delta||; 0: no clip", traced=True, low=0
    )
    alpha: str = setting("per_synapse", "shape of alpha", choices=synapse.MODES)
    alpha_init: str = setting(
        "constant", "alpha_scale, or U(-alpha_scale, alpha_scale)", choices=synapse.INITIALIZERS
    )
    alpha_scale: float = setting(0.02, "scale of the initial alpha, and of beta")
    plastic_biases: bool = setting(True, "biases have fast weights too")
    norm_biases: bool = setting(False, "biases count in ||delta||")
    norm_epsilon: float = setting(1e-8, "added to ||delta||, inside the root and beside it", low=0)
    decay: str = setting(
        "clipped", "keep = 1 - eta, with eta after or before the clip", choices=DECAYS
    )
    decay_ratio: float = setting(1.0, "keep = 1 - decay_ratio * eta", low=0)
    modulated: bool = setting(True, "eta0 * sigmoid(g); False: eta0 / 2")


def modulated(
    settings: PlasticSettings, delta: Callable[[Activity], tuple[Array, Array]], **parts: Any
) -> Rule:
    """The rule that writes delta = left right^T, at the neuromodulated rate and keep.

    Args:
      settings: of the rule.
      delta: (activity of a layer) -> (left [O], right [I]).
      **parts: further fields of `Rule`, which may replace `init`.

    >>> import plasticity as P
    >>> anti = P.modulated(P.PlasticSettings(eta0=0.5), lambda layer: (-layer.post, layer.pre))
    >>> pl = P.plastic(anti, {"out": (2, 3)})
    """

    def init(key: Key, shapes: Mapping[str, LayerShape], head: int) -> Plasticity:
        del head
        return Plasticity(init_synapses(key, shapes, settings), projection=None)

    def write(
        theta: Plasticity, modulator: Array, activities: Mapping[str, Activity]
    ) -> dict[str, Write]:
        del theta
        check_one_episode(modulator, activities)
        deltas = {name: delta(activity) for name, activity in activities.items()}
        rate, keep = rate_and_keep(deltas, modulator, settings)
        return {name: Write(left, right, rate, keep) for name, (left, right) in deltas.items()}

    return Rule(**{"init": init, "write": write} | parts)


def init_synapses(
    key: Key, shapes: Mapping[str, LayerShape], settings: PlasticSettings
) -> dict[str, Synapse]:
    """Coefficients of all layers, float32, {layer: `Synapse`}."""
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


def check_one_episode(modulator: Array, activities: Mapping[str, Activity]) -> None:
    """Checks the arguments of `Rule.write`.

    Raises:
      ValueError: they are not those of one step of one episode.
    """
    vmap = "a rule takes one step of one episode; jax.vmap adds episodes"
    if jnp.ndim(modulator):
        raise ValueError(f"modulator has shape {jnp.shape(modulator)}, it should be (): {vmap}")
    for layer, activity in activities.items():
        for field, value in activity._asdict().items():
            should_be = jnp.shape(activity.pre if field == "pre" else activity.post)
            if jnp.ndim(value) != 1 or jnp.shape(value) != should_be:
                size = "inputs" if field == "pre" else "outputs"
                raise ValueError(
                    f"{field} of layer {layer!r} has shape {jnp.shape(value)}, it should be a "
                    f"vector of the layer's {size}: {vmap}"
                )


def rate_and_keep(
    deltas: Mapping[str, tuple[Array, Array]], modulator: Array, settings: PlasticSettings
) -> tuple[Array, Array]:
    """The neuromodulated, globally clipped rate eta_t, and keep_t, both [].

      eta_t = eta0 * sigmoid(g_t) * min(1, max_norm / ||delta_t||)        (Chaudhary 2025)
      keep_t = 1 - decay_ratio * eta_t, eta_t with the clip or without

    Duan et al. 2023 write p 2 sigmoid(g), which is eta0 = 2 p, and decay without the clip. Both
    results have at least the precision of float32: 1 - eta is 1 in bfloat16 for eta = 0.001.

    Args:
      deltas: {layer: (left [O], right [I])}; ||left right^T|| = ||left|| ||right||.
      modulator: g_t, [].
      settings: eta0, max_norm, norm_biases, norm_epsilon, decay, decay_ratio, modulated.
    """
    norm = _global_norm(deltas, settings)
    gate = jax.nn.sigmoid(modulator if settings.modulated else jnp.zeros_like(modulator))
    unclipped = settings.eta0 * gate.astype(jnp.promote_types(gate.dtype, jnp.float32))
    most = jnp.where(settings.max_norm > 0, settings.max_norm, 1.0)
    clip = jnp.where(settings.max_norm > 0, most / jnp.maximum(most, norm), 1.0)
    rate = unclipped * clip
    return rate, 1.0 - settings.decay_ratio * (rate if settings.decay == "clipped" else unclipped)


def _global_norm(deltas: Mapping[str, tuple[Array, Array]], settings: PlasticSettings) -> Array:
    """||delta|| over all layers, [], with the epsilons.

    Squares overflow long before the norm does: 1e20 squared is no float32. Each vector is therefore
    divided by the sum of its magnitudes first, and the sum of squares by the largest of their
    products. NaN where no float32 holds such a sum, such a product, or the norm.

      left (3e20, 4e20), right (1): scale 7e20, squares (9/49 + 16/49) * 1, norm 7e20 * 5/7 = 5e20
    """
    count_biases = settings.norm_biases and settings.plastic_biases
    extra = 1.0 if count_biases else 0.0  # a bias is a weight from an input that is 1
    sides = _rows([side for sides in zip(*deltas.values(), strict=True) for side in sides])
    sides = sides.reshape(2, len(deltas), -1)  # left and right
    least = jnp.array([[0.0], [extra]], sides.dtype)
    sizes = jnp.maximum(jax.lax.stop_gradient(jnp.abs(sides).sum(-1)), least)
    sizes = jnp.where(sizes == 0, 1.0, sizes)  # [2, layers], constants under differentiation
    squares = ((sides / sizes[..., None]) ** 2).sum(-1) + (least / sizes) ** 2
    size = sizes[0] * sizes[1]
    # Below the root of epsilon nothing is lost to rounding.
    scale = jnp.maximum(size.max(), settings.norm_epsilon**0.5)
    total = (squares[0] * squares[1] * (size / scale) ** 2).sum()
    total += settings.norm_epsilon / scale / scale
    # No write, no epsilon: the root has no derivative there, and nothing is to be clipped.
    norm = scale * jnp.sqrt(jnp.where(total == 0, 1.0, total)) + settings.norm_epsilon
    return jnp.where(total == 0, 0.0, norm)


def _rows(vectors: Sequence[Array]) -> Array:
    """Vectors of any lengths as rows [V, longest], filled with zeros: one operation for all."""
    longest = max(map(len, vectors))
    rows = jnp.stack([jnp.pad(v, (0, longest - len(v))) for v in vectors])
    return rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
