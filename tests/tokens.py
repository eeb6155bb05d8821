"""Episodes and metrics of tasks whose inputs are tokens."""

import functools

import jax
import numpy as np


def draw(task, count, seed=0):
    """Episodes [count], as NumPy arrays."""
    sample = jax.jit(jax.vmap(lambda key: task.sample(key, None)))
    return jax.tree.map(np.array, sample(jax.random.split(jax.random.key(seed), count)))


@functools.cache
def _compiled(task):
    def metrics(said, episode):
        return task.metrics(jax.nn.one_hot(said, task.outputs), episode)

    return jax.jit(jax.vmap(metrics))


def scores(task, said, episodes):
    """The metrics [B] of answers `said` [B, T], which are tokens."""
    return jax.tree.map(np.asarray, _compiled(task)(said, episodes))
