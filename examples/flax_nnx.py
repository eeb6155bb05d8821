"""Learn a sinusoid point by point: the gradient rule in an NNX module.

Each step asks for y = a sin(x + b) at a new x, with a and b of the episode, and then tells y. The
error enters the internal loss, so that fast weights descend its gradient within the episode. Across
episodes, training learns features, learning rates and the internal loss itself.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import plasticity as P

WIDTH, STEPS = 32, 16
LAYERS = {"hidden": (WIDTH, WIDTH), "out": (1, WIDTH)}  # outputs, inputs
# alpha < 0: downhill. The internal loss reads answer, modulator and error: head = 3 numbers.
RULE = P.gradient(eta0=1.0, alpha_scale=-0.2, decay_ratio=0.0, projection="elementwise")
GRADIENT = P.plastic(RULE, LAYERS, head=3)
NONE = P.plastic(P.none(), LAYERS)  # the same network, whose fast weights stay zero


class Net(nnx.Module):
    """Three layers, of which two are plastic."""

    def __init__(self, rngs):
        self.inp = nnx.Linear(1, WIDTH, rngs=rngs)
        self.hidden = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, 1, rngs=rngs)
        self.rate = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, x, y, fast):
        """One step of one episode, x and y []. The answer does not depend on y, the error does."""
        inp = jnp.tanh(self.inp(x[None]))
        hidden = fast("hidden", inp, self.hidden(inp), jnp.tanh)
        answer = fast("out", hidden, self.out(hidden))
        return P.Outputs(answer, self.rate(hidden)[0], auxiliary=answer - y)


GRAPH, SLOW = nnx.split(Net(nnx.Rngs(0)))  # the state of a module is a pytree


def sample(key, episodes):
    """Returns x and y, [B, T]."""
    x_key, a_key, b_key = jax.random.split(key, 3)
    x = jax.random.uniform(x_key, (episodes, STEPS), minval=-3.0, maxval=3.0)
    a = jax.random.uniform(a_key, (episodes, 1), minval=0.5, maxval=2.0)
    b = jax.random.uniform(b_key, (episodes, 1), maxval=2 * jnp.pi)
    return x, a * jnp.sin(x + b)


def errors(learned, plastic, xs):
    """Mean squared error at each step, [T]; learned: slow weights and theta."""
    forward = lambda slow, carry, x, fast: (carry, nnx.merge(GRAPH, slow)(*x, fast))  # noqa: E731
    answers, _ = P.run(plastic, forward, *learned, xs)
    return ((answers[..., 0] - xs[1]) ** 2).mean(0)


def main(steps=300):
    """Trains; prints and returns errors on new episodes, with and without fast weights."""
    # With theta inside the module, nnx.Optimizer trains both: see docs/howto/network.md.
    learned, optimizer = (SLOW, GRADIENT.init(jax.random.key(0))), optax.adam(3e-3)

    def update(state, key):
        grads = jax.grad(lambda both: errors(both, GRADIENT, sample(key, 32)).mean())(state[0])
        updates, moments = optimizer.update(grads, state[1])
        return (optax.apply_updates(state[0], updates), moments), None

    test, *keys = jax.random.split(jax.random.key(1), 1 + steps)
    (learned, _), _ = jax.lax.scan(update, (learned, optimizer.init(learned)), jnp.stack(keys))
    on, off = (errors(learned, plastic, sample(test, 2000)) for plastic in (GRADIENT, NONE))
    for t in (0, 1, 3, 7, 15):
        print(f"points seen {t:2}: squared error with plasticity {on[t]:.3f}, without {off[t]:.3f}")
    return on, off


if __name__ == "__main__":
    main()
