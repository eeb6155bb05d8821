"""Measures of plasticity, for logs and results: rates, sizes of writes, norms of fast weights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.memory import trace_after
from plasticity.network import EpisodeTrace, Network, Parameters
from plasticity.synapse import scaled_matrix, write_norm_squared
from plasticity.types import Array, Form, LayerShape, Synapse, Write


def plasticity_gradients(network: Network, grads: Parameters) -> dict[str, Array]:
    """Returns the norms [] of the gradients of alpha and of the modulator's slow weights.

    Args:
      network: the parts.
      grads: gradient of the outer loss.

    Returns:
      {"grad_alpha", "grad_modulator"}; zeros under a static rule. The latter is absent if the
      backbone has no `modulator_weights`.
    """
    alpha = [synapse._replace(beta=None) for synapse in grads.plasticity.synapses.values()]
    norms = {"grad_alpha": optax.tree.norm(alpha)}
    if network.backbone.modulator_weights is not None:
        weights = network.backbone.modulator_weights(grads.slow)
        norms["grad_modulator"] = jnp.linalg.norm(weights)
    return dict.fromkeys(norms, jnp.zeros(())) if network.rule.static else norms


class Modulation(NamedTuple):
    """Rates and sizes of the writes of B episodes."""

    rates: dict[str, Array]  # {layer: [B, T]}, eta; the mean over outputs if it is [O]
    sizes: dict[str, Array]  # {layer: [B, T]}, ||eta alpha delta||


def modulation(network: Network, params: Parameters, trace: EpisodeTrace) -> Modulation:
    """Returns rates and sizes of all writes of B episodes; empty under a static rule."""
    rates, sizes = {}, {}
    norm = jax.vmap(jax.vmap(write_norm_squared, (None, 0, 0)), (None, 0, 0))
    for name, write in trace.writes.items():
        rates[name] = write.rate.reshape(*write.rate.shape[:2], -1).mean(-1)
        rate = write.rate.reshape(*write.rate.shape[:2], *[1] * (write.left.ndim - 3), -1)
        synapse = params.plasticity.synapses[name]
        sizes[name] = jnp.sqrt(norm(synapse, rate * write.left, write.right))
    return Modulation(rates, sizes)


def telemetry(network: Network, params: Parameters, trace: EpisodeTrace) -> dict[str, Array]:
    """Summarises the writes of B episodes; zeros under a static rule.

    Returns:
      eta_mean [B]: the rate, averaged over steps and layers.
      write_norm [B]: ||eta alpha delta|| over all plastic weights, averaged over steps.
    """
    if network.rule.static:
        return dict.fromkeys(("eta_mean", "write_norm"), jnp.zeros(len(trace.outputs.task)))
    rates, sizes = modulation(network, params, trace)
    squares = sum(size**2 for size in sizes.values())
    return {
        "eta_mean": jnp.mean(jnp.stack([rate.mean(1) for rate in rates.values()]), axis=0),
        "write_norm": jnp.sqrt(squares).mean(1),
    }


def written(synapse: Synapse, write: Write, steps: int | Array, form: Form = Form()) -> Array:
    """Computes a layer's fast weights [O, I] after the first `steps` [] of its writes [T, ...].

    It uses the dense engine, whichever the network has. Later writes count with rate 0 and keep 1,
    so that one compiled program serves all values of `steps`.
    """
    early = jnp.arange(len(write.rate)) < steps

    def until(factor: Array, after: float) -> Array:
        return jnp.where(early.reshape(-1, *[1] * (factor.ndim - 1)), factor, after)

    first = write._replace(rate=until(write.rate, 0.0), keep=until(write.keep, 1.0))
    shape = LayerShape(write.left.shape[-1], write.right.shape[-1])
    return scaled_matrix(synapse, trace_after(shape, first, form).weight)


def fast_norm(network: Network, params: Parameters, trace: EpisodeTrace) -> Array:
    """Returns ||w|| [B] over all plastic weights after the last step of B episodes.

    It forms the matrices w [O, I], which training does not need.
    """
    squares = [jnp.zeros(len(trace.outputs.task))]
    for name, base in trace.state.fast.items():
        synapse = params.plasticity.synapses[name]
        squares.append(
            jax.vmap(lambda b, s=synapse: (network.memory.weights(b, s).weight ** 2).sum())(base)
        )
    return jnp.sqrt(sum(squares))
