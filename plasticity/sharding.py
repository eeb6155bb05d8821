"""Episodes spread over devices and time: parameters everywhere, each device a share of a batch.

One device per core is also the fastest way to use a CPU: the operations of a small network are too
short to be worth splitting between threads.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from plasticity.types import Array, PyTree

EPISODES = "episodes"  # the axis of the mesh


def episode_mesh(episodes: int) -> Mesh:
    """A mesh of as many local devices as divide `episodes` evenly."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if episodes % n == 0)
    return Mesh(np.asarray(devices[:count]), (EPISODES,), axis_types=(AxisType.Auto,))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """A copy of the arrays on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def mean_over_devices(function: Callable[..., PyTree], mesh: Mesh) -> Callable[..., PyTree]:
    """function(index [B / devices], *args) on every device's share of an index [B], averaged.

    Args:
      function: its results are means over its share of the batch.
      mesh: from `episode_mesh`.
    """

    def share(index: Array, *args: PyTree) -> PyTree:
        return jax.lax.pmean(function(index, *args), EPISODES)

    return _shard(share, mesh, PartitionSpec())


def mean_over_parts(function: Callable[..., PyTree], most: int) -> Callable[..., PyTree]:
    """function(index [B], *args) on equal parts of the index, one after the other, averaged.

    Args:
      function: its results are means over its part of the batch.
      most: the largest size of a part; the largest divisor of B up to it is taken. 0: one part.
    """

    def run(index: Array, *args: PyTree) -> PyTree:
        size = max(n for n in range(1, (most or len(index)) + 1) if len(index) % n == 0)
        if size == len(index):
            return function(index, *args)
        parts = index.reshape(-1, size)

        def add(total: PyTree, part: Array) -> tuple[PyTree, None]:
            return jax.tree.map(jnp.add, total, function(part, *args)), None

        shapes = jax.eval_shape(function, parts[0], *args)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, parts)
        return jax.tree.map(lambda a: a / len(parts), total)

    return run


def split_over_devices(function: Callable[..., PyTree], mesh: Mesh) -> Callable[..., PyTree]:
    """function(index [B], *args) with the index and the results, leading axis B, split evenly."""
    return _shard(function, mesh, PartitionSpec(EPISODES))


def _shard(function: Callable, mesh: Mesh, out: PartitionSpec) -> Callable:
    def run(index: Array, *args: PyTree) -> PyTree:
        specs = (PartitionSpec(EPISODES), *(PartitionSpec() for _ in args))
        mapped = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False)
        return mapped(index, *args)

    return run
