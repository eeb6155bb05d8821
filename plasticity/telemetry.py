"""How plastic a network was: numbers for logs and results."""

import jax
import jax.numpy as jnp
import optax

from plasticity.model.head import modulator_column
from plasticity.network import Network, Parameters, Trace
from plasticity.synapse import write_norm_squared
from plasticity.types import Array


def plasticity_gradients(network: Network, grads: Parameters, outputs: int) -> dict[str, Array]:
    """Norms [] of d loss / d alpha and d loss / d (the modulator's weights); zeros if static."""
    if network.rule.static:
        return dict.fromkeys(("grad_alpha", "grad_modulator"), jnp.zeros(()))
    alpha = [synapse._replace(beta=None) for synapse in grads.plasticity.synapses.values()]
    return {
        "grad_alpha": optax.tree.norm(alpha),
        "grad_modulator": jnp.linalg.norm(modulator_column(grads.slow, outputs)),
    }


def telemetry(network: Network, params: Parameters, trace: Trace) -> dict[str, Array]:
    """How plastic B episodes were; zeros under a static rule.

    Returns:
      eta_mean: the rate, averaged over steps and layers, [B].
      write_norm: ||eta alpha delta|| over all plastic weights, averaged over steps, [B].
    """
    if network.rule.static:
        return dict.fromkeys(("eta_mean", "write_norm"), jnp.zeros(len(trace.outputs.task)))
    rates, squares = [], []
    norm = jax.vmap(jax.vmap(write_norm_squared, (None, 0, 0)), (None, 0, 0))
    for name, write in trace.writes.items():
        rates.append(write.rate.reshape(len(write.rate), -1).mean(1))
        rate = write.rate if network.rule.per_output else write.rate[..., None]
        squares.append(norm(params.plasticity.synapses[name], rate * write.left, write.right))
    return {
        "eta_mean": jnp.mean(jnp.stack(rates), axis=0),
        "write_norm": jnp.sqrt(sum(squares)).mean(1),
    }


def fast_norm(network: Network, params: Parameters, trace: Trace) -> Array:
    """||w|| over all plastic weights after the last step of B episodes, [B].

    It forms the matrices, which training need not do.
    """
    squares = [jnp.zeros(len(trace.outputs.task))]
    for name, base in trace.fast.items():
        synapse = params.plasticity.synapses[name]
        squares.append(
            jax.vmap(lambda b, s=synapse: (network.memory.weights(b, s).weight ** 2).sum())(base)
        )
    return jnp.sqrt(sum(squares))
