"""A homeostatic learning rate: it follows what a network perceives, if its memory profits.

Samples come one by one. After each `batch`: w <- w - rate (sum of its gradients) / batch. Before
that, at each sample i > memory with i mod interval = 0, a change of the rate is proposed: +step if
the predicted class of sample i is a high one, else -step (`floor` if the rate would be negative).
It is tried with the gradients so far. If the weights after such a step are right about strictly
more of the last `memory` samples than after one with the present rate, then the rate changes, up or
down by the *true* class of sample i.

Source: the released program "lrh", a classifier of ten digits, where the classes from 5 on are
high. It is no `optimizer.name`: it needs a stream of single labelled samples, and an episode has
no class that could be high or low.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.types import Array, PyTree, Scalar


class Homeostasis(NamedTuple):
    """Settings of the regulation; defaults as in the release."""

    step: Scalar = 1e-4
    batch: int = 10
    interval: int = 10
    memory: int = 20
    floor: Scalar = 1e-8
    first_high: int = 5


def homeostatic_epoch(
    params: PyTree,
    rate: Array,
    samples: PyTree,
    labels: Array,
    gradient: Callable[[PyTree, PyTree, Array], PyTree],
    predict: Callable[[PyTree, PyTree], Array],
    settings: Homeostasis = Homeostasis(),
) -> tuple[PyTree, Array]:
    """One pass over N samples, in order: the weights after it, and the rate after each sample [N].

    `rate` [] is that at the start, `samples` a tree of arrays [N, ...], `labels` are classes [N].
    `gradient` is that of the loss of one sample, `predict` gives its class [].
    """
    step, batch, interval, memory, floor, high = settings

    def changed(rate: Array, label: Array) -> Array:
        up = rate + jnp.where(label >= high, step, -step)
        return jnp.where(up < 0, floor, up)

    def moved(params: PyTree, total: PyTree, rate: Array) -> PyTree:
        return jax.tree.map(lambda w, g: w - rate * g / batch, params, total)

    def regulated(params: PyTree, rate: Array, total: PyTree, i: Array) -> Array:
        recent = i - memory + jnp.arange(memory)

        def right(rate: Array) -> Array:
            weights = moved(params, total, rate)
            found = jax.vmap(lambda j: predict(weights, sample(j)))(recent)
            return jnp.sum(found == labels[recent])

        proposal = changed(rate, predict(params, sample(i)))
        return jnp.where(right(proposal) > right(rate), changed(rate, labels[i]), rate)

    def sample(i: Array) -> PyTree:
        return jax.tree.map(lambda a: a[i], samples)

    def see(state: tuple[PyTree, Array, PyTree], i: Array) -> tuple[tuple, Array]:
        params, rate, total = state
        total = jax.tree.map(jnp.add, total, gradient(params, sample(i), labels[i]))
        due = (i > memory) & (i % interval == 0)
        rate = jax.lax.cond(due, regulated, lambda p, rate, t, i: rate, params, rate, total, i)
        done = moved(params, total, rate), rate, jax.tree.map(jnp.zeros_like, total)
        return jax.lax.cond((i + 1) % batch == 0, lambda: done, lambda: (params, rate, total)), rate

    start = params, rate, jax.tree.map(jnp.zeros_like, params)
    (params, _, _), rates = jax.lax.scan(see, start, jnp.arange(len(labels)))
    return params, rates
