"""A homeostatic learning rate, and a fixed one, on a stream in which labels swap. No episodes.

Ten classes are clusters in `DIM` dimensions; samples come one by one, and two classes exchange
their labels `swaps` times, at equal distances. A network with one hidden layer answers each piece
of the stream before it learns it. Both rates start at one value and see the same samples; the
memory of the homeostatic rate begins anew with each piece.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.outer.homeostatic import Homeostasis, homeostatic_epoch
from plasticity.types import Array, Key

CLASSES, DIM, HIDDEN, NOISE = 10, 20, 32, 1.5
PIECE = 100  # samples


class ShiftStream(NamedTuple):
    """N samples in order."""

    inputs: Array  # [N, DIM]
    labels: Array  # [N], by the labels of the moment


def shift_stream(key: Key, samples: int, swaps: int) -> ShiftStream:
    """Draws a stream; labels change after every samples / (swaps + 1) of them."""
    centre_key, class_key, noise_key, swap_key = jax.random.split(key, 4)
    centres = jax.random.normal(centre_key, (CLASSES, DIM))
    kinds = jax.random.randint(class_key, (samples,), 0, CLASSES)
    inputs = centres[kinds] + NOISE * jax.random.normal(noise_key, (samples, DIM))

    def swapped(order: Array, key: Key) -> tuple[Array, Array]:
        pair = jax.random.choice(key, CLASSES, (2,), replace=False)
        after = order.at[pair].set(order[pair[::-1]])
        return after, after

    first = jnp.arange(CLASSES)
    _, later = jax.lax.scan(swapped, first, jax.random.split(swap_key, max(swaps, 1)))
    orders = jnp.concatenate([first[None], later])
    which = jnp.arange(samples) * (swaps + 1) // samples
    return ShiftStream(inputs, orders[which, kinds])


def _logits(w: dict[str, Array], x: Array) -> Array:
    return w["out"] @ jax.nn.elu(w["in"] @ x + w["bias"])


def accuracy_over(stream: ShiftStream, key: Key, rate: float, settings: Homeostasis) -> Array:
    """The accuracy [N / PIECE] on each piece before it is learned."""
    one, two = jax.random.split(key)
    weights = {
        "in": jax.random.normal(one, (HIDDEN, DIM)) / DIM**0.5,
        "bias": jnp.zeros(HIDDEN),
        "out": jax.random.normal(two, (CLASSES, HIDDEN)) / HIDDEN**0.5,
    }

    def loss(w: dict[str, Array], x: Array, label: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(_logits(w, x), label)

    def predict(w: dict[str, Array], x: Array) -> Array:
        return _logits(w, x).argmax()

    def learn(state: tuple, piece: ShiftStream) -> tuple[tuple, Array]:
        w, rate = state
        right = jax.vmap(predict, (None, 0))(w, piece.inputs) == piece.labels
        w, rates = homeostatic_epoch(w, rate, *piece, jax.grad(loss), predict, settings)
        return (w, rates[-1]), right.mean()

    pieces = jax.tree.map(lambda a: a.reshape(-1, PIECE, *a.shape[1:]), stream)
    return jax.lax.scan(learn, (weights, jnp.asarray(rate)), pieces)[1]


def concept_shift(
    seeds: Sequence[int], *, swaps: int, samples: int, rate: float, step: float
) -> list[dict[str, float]]:
    """{metric: value} of each seed: mean accuracy under either rate, and the difference.

    Args:
      seeds: of stream and weights. swaps, samples: of the stream. rate: at the start.
      step: of the homeostatic rate, see `Homeostasis`.
    """

    @jax.jit
    def measured(seed: Array) -> dict[str, Array]:
        draw, init = jax.random.split(jax.random.key(seed))
        stream = shift_stream(draw, samples, swaps)
        found = {
            name: accuracy_over(stream, init, rate, Homeostasis(step=size)).mean()
            for name, size in (("homeostatic", step), ("fixed", 0.0))
        }
        return found | {"advantage": found["homeostatic"] - found["fixed"]}

    return [{k: float(v) for k, v in measured(jnp.int32(seed)).items()} for seed in seeds]
