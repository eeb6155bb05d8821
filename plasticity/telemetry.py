"""Measures of plasticity, for logs and results: rates, sizes of writes, norms of fast weights."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.memory import trace_after
from plasticity.network import EpisodeTrace, Network, Parameters
from plasticity.shares import Share
from plasticity.synapse import PLAIN, scaled_matrix, write_norm_squared
from plasticity.types import Array, FastWeights, Form, LayerShape, Memory, PyTree, Synapse, Write


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
    return norms if network.layers else dict.fromkeys(norms, jnp.zeros(()))


class Modulation(NamedTuple):
    """Rates and sizes of the writes of B episodes."""

    rates: dict[str, Array]  # {layer: [B, T]}, eta; the mean over outputs if it is [O]
    sizes: dict[str, Array]  # {layer: [B, T]}, ||eta alpha delta||


def modulation(network: Network, params: Parameters, trace: EpisodeTrace) -> Modulation:
    """Returns rates and sizes of all writes of B episodes, at plastic layers.

    Args:
      network: the parts.
      params: slow weights and theta.
      trace: of `run_episodes`.
    """
    rates, squares = {}, {}
    norm = jax.vmap(jax.vmap(write_norm_squared, (None, 0, 0)), (None, 0, 0))
    for name, write in trace.writes.items():
        rates[name] = write.rate.reshape(*write.rate.shape[:2], -1).mean(-1)
        rate = write.rate.reshape(*write.rate.shape[:2], *[1] * (write.left.ndim - 3), -1)
        synapse = params.plasticity.synapses.get(name, PLAIN)
        squares[name] = norm(synapse, rate * write.left, write.right)
    if (share := network.backbone.share) is not None:
        squares |= share.leave({n: a for n, a in squares.items() if n in share.split})
        parts = {n: rates[n] / share.devices for n in share.split if _per_output(trace, n, share)}
        rates |= share.leave(parts)
    return Modulation(rates, {name: jnp.sqrt(square) for name, square in squares.items()})


def _per_output(trace: EpisodeTrace, layer: str, share: Share) -> bool:
    """Whether a device has the rates of some outputs of a layer."""
    of_outputs = layer in trace.writes and share.split[layer] == "outputs"
    return of_outputs and trace.writes[layer].rate.ndim > 2  # beside B and T


def telemetry(network: Network, params: Parameters, trace: EpisodeTrace) -> dict[str, Array]:
    """Summarises the writes of B episodes; zeros if nothing is written.

    Args:
      network: the parts.
      params: slow weights and theta.
      trace: of `run_episodes`.

    Returns:
      eta_mean [B]: the rate, averaged over steps, layers, and the heads of memory sites.
      write_norm [B]: ||eta alpha delta||, averaged over steps. The norm is over the weights of all
      plastic layers, without biases and without memory sites.
    """
    nothing = jnp.zeros(len(trace.outputs.task))
    rates, sizes = modulation(network, params, trace)
    means = [rate.mean(1) for rate in rates.values()]
    for token in trace.tokens.values() if network.site_writes else ():
        if token.rate is not None and jnp.ndim(token.rate) > 2:  # the rule has one
            means.append(token.rate.reshape(len(nothing), -1).mean(1))
    squares = sum(size**2 for size in sizes.values())
    return {
        "eta_mean": jnp.mean(jnp.stack(means), axis=0) if means else nothing,
        "write_norm": jnp.sqrt(squares).mean(1) if sizes else nothing,
    }


def written(synapse: Synapse, write: Write, steps: int | Array, form: Form = Form()) -> Array:
    """Computes a layer's fast weights [O, I] after the first `steps` [] of its writes [T, ...].

    It uses the dense engine, whichever the network has. Later writes count with rate 0, keep 1 and
    momentum 0, so that one compiled program serves all values of `steps`.

    Args:
      synapse: alpha and beta of the layer.
      write: an entry of `EpisodeTrace.writes`, of one episode.
      steps: [] int32, how many count.
      form: of the writes, `Rule.form`.
    """
    early = jnp.arange(len(write.rate)) < steps

    def until(factor: Array, after: float) -> Array:
        return jnp.where(early.reshape(-1, *[1] * (factor.ndim - 1)), factor, after)

    first = write._replace(rate=until(write.rate, 0.0), keep=until(write.keep, 1.0))
    if write.momentum is not None:
        first = first._replace(momentum=until(write.momentum, 0.0))
    shape = LayerShape(write.left.shape[-1], write.right.shape[-1])
    return scaled_matrix(synapse, trace_after(shape, first, form).weight)


def mean_fast_weights(
    network: Network, params: Parameters, trace: EpisodeTrace
) -> dict[str, FastWeights]:
    """Returns the fast weights {layer: ([O, I], [O])} after the last step, mean over B episodes.

    It forms the matrices w [O, I] of each episode, which training does not need otherwise.
    """
    weights = jax.vmap(network.memory.weights, (0, None))
    synapses = params.plasticity.synapses
    fast = {
        name: weights(trace.state.fast[name], synapses.get(name, PLAIN)) for name in network.layers
    }
    return jax.tree.map(lambda a: a.mean(0), fast)


def fast_norm(network: Network, params: Parameters, trace: EpisodeTrace) -> Array:
    """Returns ||w|| [B] over all plastic layers and memory sites after the last step, no biases.

    It forms the matrices w [O, I], which training does not need.

    Args:
      network: the parts.
      params: slow weights and theta.
      trace: of `run_episodes`.
    """
    squares = [jnp.zeros(len(trace.outputs.task))]
    for name in network.layers:
        synapse = params.plasticity.synapses.get(name, PLAIN)
        squares.append(_square(network.memory, synapse, trace.state.fast[name]))
    for name in network.sites:
        of_head = partial(_square, network.at_site(name)[1], PLAIN)
        for bases in trace.state.fast[name].values():
            squares.append(jax.vmap(of_head, 1)(bases).sum(0))
    return jnp.sqrt(sum(squares))


def _square(memory: Memory, synapse: Synapse, bases: PyTree) -> Array:
    """||w||^2 [B] of B episodes."""
    return jax.vmap(lambda base: (memory.weights(base, synapse).weight ** 2).sum())(bases)
