"""Keys that are bound again: the delta rule as a memory layer of a Linen module, against Hebb's.

Each step binds a key to a value and asks for the *last* value of a key. Bindings marked as noise do
not count. No key depends on what was read, so that all steps of an episode are taken in parallel.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import plasticity as P

KEYS, VALUES, STEPS, WIDTH = 4, 4, 24, 16


class MemoryNet(nn.Module):
    """Writes T values and answers T queries, of one episode; jax.vmap adds episodes."""

    rule: P.Rule

    @nn.compact
    def __call__(self, key, value, noise, query, writes=1.0):
        """Integers [T], of noise booleans, to logits [T, VALUES]; writes = 0: memory off."""
        address, unit = nn.Embed(KEYS, WIDTH), nn.RMSNorm()
        rate = nn.sigmoid(nn.Dense(1)(noise[:, None].astype(float)))[:, 0]
        token = P.Token(
            query=unit(address(query)) / WIDTH**0.5,  # of length 1, so that
            key=unit(address(key)) / WIDTH**0.5,  # a rate of 1 replaces the old value
            value=nn.Embed(VALUES, WIDTH)(value),
            rate=writes * rate,
        )
        return nn.Dense(VALUES)(P.associate(self.rule, token)[0])


def sample(key, episodes):
    """Returns inputs, right values and which of them count: all [B, T]."""
    keys, shape = jax.random.split(key, 4), (episodes, STEPS)
    key, query = (jax.random.randint(k, shape, 0, KEYS) for k in keys[:2])
    value = jax.random.randint(keys[2], shape, 0, VALUES)
    noise = jax.random.bernoulli(keys[3], 1 / 3, shape)
    binds = (query[..., None] == key[:, None]) & ~noise[:, None] & jnp.tri(STEPS, dtype=bool)
    last = jnp.where(binds, jnp.arange(STEPS), -1).max(-1)
    return (key, value, noise, query), jnp.take_along_axis(value, last, 1), last >= 0


def evaluate(params, net, xs, values, known, writes=1.0):
    """Cross-entropy and accuracy over the queries whose key is bound."""
    logits = jax.vmap(lambda *x: net.apply(params, *x, writes))(*xs)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, values)
    return losses.mean(where=known), (logits.argmax(-1) == values).mean(where=known)


def train_and_test(net, steps):
    """Returns the accuracy on new episodes with the memory and without."""
    test, *keys = jax.random.split(jax.random.key(0), 1 + steps)
    optimizer = optax.adam(1e-2)

    def update(state, key):
        grads, _ = jax.grad(evaluate, has_aux=True)(state[0], net, *sample(key, 32))
        updates, moments = optimizer.update(grads, state[1])
        return (optax.apply_updates(state[0], updates), moments), None

    params = net.init(test, *(a[0] for a in sample(test, 1)[0]))
    (params, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), jnp.stack(keys))
    score = jax.jit(lambda writes: evaluate(params, net, *sample(test, 500), writes)[1])
    return float(score(1.0)), float(score(0.0))


def main(steps=200):
    """Prints and returns the accuracies of the two rules, with the memory and without."""
    table = {n: train_and_test(MemoryNet(getattr(P, n)()), steps) for n in ("delta", "hebb")}
    for name, (on, off) in table.items():
        print(f"{name}: accuracy with memory {on:.3f}, without {off:.3f}, chance {1 / VALUES:.3f}")
    return table


if __name__ == "__main__":
    main()
