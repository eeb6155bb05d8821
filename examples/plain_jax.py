"""An associative memory in plain JAX: one rule and one memory of this library.

A layer without slow weights writes five pairs (key, value), one per step, and then recalls each
value by its key. It needs neither Flax nor a network: rule and memory are pure functions.

  python examples/plain_jax.py
"""

import jax
import jax.numpy as jnp

from plasticity.memory import advance, factored
from plasticity.rules import RuleSettings, hebbian
from plasticity.types import Activity, LayerShape

PAIRS, KEY, VALUE = 5, 64, 8
SHAPES = {"memory": LayerShape(outputs=VALUE, inputs=KEY)}

# A rate of 1/2 with alpha = 2: each write adds value key^T once, and halves what was there.
settings = RuleSettings(
    eta0=1.0, max_norm=0.0, alpha="shared", alpha_scale=2.0, plastic_biases=False
)
rule = hebbian(settings)
memory = factored()  # or dense(): the matrix itself
theta = rule.init(jax.random.key(0), SHAPES, head=0)
synapse = theta.synapses["memory"]


def recall(keys, values):
    """Writes keys [P, K] and values [P, V] in turn, and returns the recalled values [P, V]."""

    def write(state, step):
        slot, key, value = step
        fast = memory.read(state, synapse, key)
        activity = Activity(key, value, value, jnp.zeros_like(value), fast)
        modulator = jnp.zeros(())  # sigmoid(0) = 1/2: the rate of every write
        writes = rule.write(theta, modulator, {"memory": activity})
        return advance(memory, state, writes["memory"], slot), None

    shape = SHAPES["memory"]
    empty = memory.open(memory.init(shape, keys.dtype), shape, PAIRS)
    state, _ = jax.lax.scan(write, empty, (jnp.arange(PAIRS), keys, values))
    return jax.vmap(lambda key: memory.read(state, synapse, key))(keys)


def main():
    """Prints the cosine similarity of recalled and true values, one line per pair."""
    key_rng, value_rng = jax.random.split(jax.random.key(1))
    keys = jnp.linalg.qr(jax.random.normal(key_rng, (KEY, PAIRS)))[0].T  # orthonormal rows
    values = jax.random.normal(value_rng, (PAIRS, VALUE))
    recalled = jax.jit(recall)(keys, values)
    norms = jnp.linalg.norm(recalled, axis=1) * jnp.linalg.norm(values, axis=1)
    similarity = (recalled * values).sum(1) / norms
    for pair, value in enumerate(similarity):
        print(f"pair {pair}: cosine similarity {value:.3f}")
    return similarity


if __name__ == "__main__":
    main()
