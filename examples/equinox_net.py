"""Classify noisy patterns from few examples: a rule of one's own, Oja's, in an Equinox module.

An episode shows three noisy examples of each of four patterns, with classes, and one without. By
Oja's rule the weights of a class become a running mean of its examples; other classes keep theirs.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import plasticity as P

CLASSES, SHOTS, PIXELS = 4, 3, 16


def write(theta, modulator, activities):
    """w_o <- (1 - rate post_o^2) w_o + rate post_o pre, of every output o (Oja 1982)."""
    writes = {}
    for name, a in activities.items():
        post = a.post / jnp.maximum(1, jnp.abs(a.post).max())  # so that no keep is negative
        rate = jnp.full_like(post, jax.nn.sigmoid(modulator))  # [O], as Form("output") says
        writes[name] = P.Write(post, a.pre, rate, keep=1 - rate * post**2)
    return writes


theta_of = P.hebbian(alpha="shared", alpha_scale=1.0, plastic_biases=False).init
OJA = P.plastic(P.Rule(theta_of, write, form=P.Form("output")), {"class": (CLASSES, PIXELS)})
NONE = P.plastic(P.none(), {"class": (CLASSES, PIXELS)})  # fast weights stay zero


class Net(eqx.Module):  # a pytree of arrays alone; others need eqx.partition and eqx.combine
    """A label drives the output of its class; fast weights add what patterns look like."""

    label: eqx.nn.Linear = eqx.nn.Linear(CLASSES, CLASSES, key=jax.random.key(0))
    rate: eqx.nn.Linear = eqx.nn.Linear(CLASSES, "scalar", key=jax.random.key(1))

    def __call__(self, carry, x, fast):
        """One step of one episode: carry, (answer, modulator)."""
        return carry, (fast("class", x[0], self.label(x[1])), self.rate(x[1]))


def sample(key, episodes):
    """Returns unit patterns and labels, [B, T, ...], and the class [B] of the last pattern."""
    keys = jax.random.split(key, 3)
    shown = jnp.tile(jnp.arange(CLASSES), (episodes, SHOTS))
    classes = jnp.append(shown, jax.random.randint(keys[0], (episodes, 1), 0, CLASSES), axis=1)
    means = jax.random.normal(keys[1], (episodes, CLASSES, PIXELS))
    patterns = jnp.take_along_axis(means, classes[..., None], axis=1)
    patterns += jax.random.normal(keys[2], patterns.shape)
    patterns /= jnp.linalg.norm(patterns, axis=-1, keepdims=True)
    return (patterns, jax.nn.one_hot(classes, CLASSES).at[:, -1].set(0)), classes[:, -1]


def evaluate(learned, plastic, xs, classes):
    """Cross-entropy and accuracy at the last step; learned: the net and theta."""
    logits = P.run(plastic, Net.__call__, *learned, xs)[0][:, -1]
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()
    return loss, (logits.argmax(-1) == classes).mean()


def main(steps=300):
    """Trains; prints and returns the accuracy on new episodes, with and without fast weights."""
    learned, optimizer = (Net(), OJA.init(jax.random.key(2))), optax.adam(1e-2)

    def update(state, key):
        grads, _ = jax.grad(evaluate, has_aux=True)(state[0], OJA, *sample(key, 32))
        updates, moments = optimizer.update(grads, state[1])
        return (optax.apply_updates(state[0], updates), moments), None

    test, *keys = jax.random.split(jax.random.key(3), 1 + steps)
    (learned, _), _ = jax.lax.scan(update, (learned, optimizer.init(learned)), jnp.stack(keys))
    on, off = (float(evaluate(learned, p, *sample(test, 2000))[1]) for p in (OJA, NONE))
    print(f"accuracy with plasticity {on:.3f}, without {off:.3f}, chance {1 / CLASSES:.3f}")
    return on, off


if __name__ == "__main__":
    main()
