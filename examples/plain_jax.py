"""Bind symbols to labels, then name the label of one: a Hebbian layer in a network of plain JAX.

An episode shows five symbols, each with a random label, and then the first of them without. Slow
weights cannot know the label: only what was written in this episode tells it.
"""

import jax
import jax.numpy as jnp
import optax

import plasticity as P

SYMBOLS, LABELS, PAIRS, WIDTH = 10, 4, 5, 16

# w <- (1 - rate) w + rate alpha * post pre^T, at a rate that the network computes itself.
LAYERS = {"memory": (WIDTH, WIDTH)}  # outputs, inputs
HEBBIAN = P.plastic(P.hebbian(eta0=1.0, alpha_scale=0.5), LAYERS)
NONE = P.plastic(P.none(), LAYERS)  # the same network, whose fast weights stay zero


def init(key):
    """Returns slow weights."""
    keys = jax.random.split(key)
    return {
        "key": jax.random.normal(keys[0], (WIDTH, SYMBOLS)) / WIDTH**0.5,
        "value": jax.random.normal(keys[1], (WIDTH, LABELS)) / WIDTH**0.5,
        "out": jnp.zeros((LABELS, WIDTH)),
        "rate": jnp.zeros(LABELS),
    }


def forward(params, carry, x, fast):
    """One step of one episode: the layer says the label that is shown, or the one it remembers."""
    symbol, label = x
    post = fast("memory", params["key"] @ symbol, params["value"] @ label)
    return carry, (params["out"] @ post, params["rate"] @ label)  # answer, modulator of the rate


def sample(key, episodes):
    """Returns symbols and labels, one-hot [B, T, ...], and the label [B] of the last symbol."""
    order_key, label_key = jax.random.split(key)
    every = jnp.tile(jnp.arange(SYMBOLS), (episodes, 1))
    symbols = jax.random.permutation(order_key, every, axis=1, independent=True)[:, :PAIRS]
    labels = jax.random.randint(label_key, (episodes, PAIRS), 0, LABELS)
    symbols = jnp.append(symbols, symbols[:, :1], axis=1)
    shown = jnp.append(labels, jnp.full((episodes, 1), -1), axis=1)  # -1: no label, all zeros
    return (jax.nn.one_hot(symbols, SYMBOLS), jax.nn.one_hot(shown, LABELS)), labels[:, 0]


def evaluate(learned, plastic, xs, labels):
    """Cross-entropy and accuracy at the last step; learned: slow weights and theta."""
    logits = P.run(plastic, forward, *learned, xs)[0][:, -1]
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, (logits.argmax(-1) == labels).mean()


def main(steps=300):
    """Trains; prints and returns the accuracy on new episodes, with and without fast weights."""
    learned = init(jax.random.key(0)), HEBBIAN.init(jax.random.key(1))
    optimizer = optax.adam(1e-2)

    def update(state, key):
        grads, _ = jax.grad(evaluate, has_aux=True)(state[0], HEBBIAN, *sample(key, 32))
        updates, moments = optimizer.update(grads, state[1])
        return (optax.apply_updates(state[0], updates), moments), None

    test, *keys = jax.random.split(jax.random.key(2), 1 + steps)
    (learned, _), _ = jax.lax.scan(update, (learned, optimizer.init(learned)), jnp.stack(keys))
    on, off = (float(evaluate(learned, p, *sample(test, 2000))[1]) for p in (HEBBIAN, NONE))
    print(f"accuracy with plasticity {on:.3f}, without {off:.3f}, chance {1 / LABELS:.3f}")
    return on, off


if __name__ == "__main__":
    main()
