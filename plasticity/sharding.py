"""A run spread over devices: episodes over the axis `data`, wide layers over the axis `model`.

Each device, or row of devices that share the layers, runs its share of a batch; gradients are
averaged once a step. In a training step `jax.shard_map` maps both axes: each device holds its part
of the layers that `Backbone.shard_by` names (slow weights, coefficients of plasticity and fast
weights), and `plasticity.shares` describes what it sends. `Network.part` says which networks are
shared in this way. All others, and evaluation, leave the axis `model` to XLA's partitioner. The
program is the same for any number of processes and devices.

One device per core is also the fastest way to use a CPU: the operations of a small network are too
short to gain from threads.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from plasticity import target
from plasticity.settings import Settings, setting
from plasticity.shares import MODEL, SPLIT
from plasticity.types import Array, PyTree

DATA = "data"  # the axis of the mesh along which devices share a batch
AUTO, ALL = 0, -1
SMALL = 2**16  # numbers: arrays up to this size are sent together


@dataclasses.dataclass(frozen=True)
class Layout(Settings):
    """How many devices share the episodes of a batch, and how many share each layer."""

    section = "mesh"
    data: int = setting(
        AUTO, "devices that share a batch; -1: all; 0: as many as divide it evenly", low=-1
    )
    model: int = setting(1, "devices that share the wide layers, in each of those shares", low=1)

    def mesh(self, episodes: int) -> Mesh:
        """The mesh for a batch of `episodes` episodes.

        Raises:
          ValueError: there are too few devices, or they do not divide the batch; the message names
            what would fit.
        """
        devices = target.devices()
        rows = len(devices) // self.model
        if not rows:
            raise ValueError(
                f"mesh.model={self.model} must be at most {len(devices)}, the devices there are"
            )
        data = self.data
        if data == ALL or (data == AUTO and target.processes() > 1):
            data = rows
        elif data == AUTO:
            data = largest_divisor(episodes, rows)
        if not 0 < data * self.model <= len(devices):
            raise ValueError(
                f"mesh.data={self.data} times mesh.model={self.model} must be at most "
                f"{len(devices)}, the devices there are"
            )
        if episodes % data:
            below = episodes // data * data
            near = [size for size in (below, below + data) if size]
            raise ValueError(
                f"a batch of {episodes} episodes cannot be shared by mesh.data={data} devices: "
                f"the nearest that can are {' and '.join(map(str, near))}"
            )
        chosen = devices[: data * self.model]
        check_all_take_part(chosen, devices)
        grid = np.asarray(chosen).reshape(data, self.model)
        return Mesh(grid, (DATA, MODEL), axis_types=(AxisType.Auto, AxisType.Auto))


def check_all_take_part(chosen: Sequence[jax.Device], devices: Sequence[jax.Device]) -> None:
    """Raises ValueError if a process has devices, but none of those that are chosen."""
    idle = {d.process_index for d in devices} - {d.process_index for d in chosen}
    if idle:
        raise ValueError(
            f"mesh.data times mesh.model is {len(chosen)}, which leaves the processes "
            f"{sorted(idle)} without a device: mesh.data=-1, and a mesh.model that divides "
            f"{len(devices)}, use all devices"
        )


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """The arrays, each of them whole on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shardings(tree: PyTree, mesh: Mesh, split: Mapping[str, str], lead: int = 0) -> PyTree:
    """The sharding of every array of a tree: whole on every device, but for layers that are split.

    Args:
      tree: parameters, or anything that holds them, such as the state of an optimizer.
      mesh: of a `Layout`.
      split: {layer: "outputs", "inputs" or "heads"}, see `Backbone.shard_by`.
      lead: leading axes that stand before those of a parameter, such as seeds.
    """

    def of(path: tuple, leaf: Array) -> NamedSharding:
        *parts, name = (str(getattr(k, "key", getattr(k, "name", k))) for k in path)
        where = "/".join(parts)
        for layer, side in split.items():
            axis = lead + SPLIT[side].get(name, jnp.ndim(leaf))
            # A coefficient that is shared has no such axis.
            if f"/{where}".endswith(f"/{layer}") and axis < jnp.ndim(leaf):
                return NamedSharding(mesh, PartitionSpec(*[None] * axis, MODEL))
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(of, tree)


def constrain_to_layout(grads: PyTree, mesh: Mesh, split: Mapping[str, str]) -> PyTree:
    """The gradient of the parameters, inside a jitted step, with the shardings of the parameters.

    Without this, the partitioner splits the optimizer's work on whole layers over a row of devices
    and then gathers three arrays (parameter and both moments) instead of one, the gradient.
    """
    if mesh.shape[MODEL] == 1:
        return grads
    return jax.lax.with_sharding_constraint(grads, shardings(grads, mesh, split))


def mean_over_devices(
    function: Callable[..., PyTree],
    mesh: Mesh,
    split: Mapping[str, str] | None = None,
    results: Callable[[PyTree], PyTree] = lambda params: PartitionSpec(),
) -> Callable[..., PyTree]:
    """function(index [B / devices], *args) on every device's share of an index [B], averaged.

    Args:
      function: its results are means over its share of the batch.
      mesh: of a `Layout`.
      split: layers of which each device has its part in the parameters, the first of `args`, see
        `Network.part`; None: the function is of whole layers, which XLA's partitioner may split.
      results: (specs of the parameters) -> specs of the results; for `split`.
    """
    joined = mesh.shape[MODEL] == 1 or split is not None
    # Where the partitioner splits layers, joining arrays would gather their parts first.
    mean = _mean_in_few_messages if joined else _mean

    def share(index: Array, *args: PyTree) -> PyTree:
        found = function(index, *args)
        return found if mesh.shape[DATA] == 1 else mean(found)

    if split is None:
        # XLA's partitioner accepts no mean over one device beside `model`.
        return function if mesh.shape[DATA] == 1 else _shard(share, mesh, PartitionSpec())

    def run(index: Array, params: PyTree, *args: PyTree) -> PyTree:
        own = jax.tree.map(lambda a: a.spec, shardings(params, mesh, split))
        specs = (PartitionSpec(DATA), own, *(PartitionSpec() for _ in args))
        mapped = jax.shard_map(
            share, mesh=mesh, in_specs=specs, out_specs=results(own), check_vma=False
        )
        return mapped(index, params, *args)

    return run


def _mean(tree: PyTree) -> PyTree:
    return jax.lax.pmean(tree, DATA)


def _mean_in_few_messages(tree: PyTree) -> PyTree:
    """`_mean`, with all small arrays joined in one message: each message costs a latency.

    XLA joins messages on GPUs and TPUs, but not on CPUs.
    """
    leaves, structure = jax.tree.flatten(tree)
    small = [leaf for leaf in leaves if leaf.size <= SMALL]
    joined, separate = jax.flatten_util.ravel_pytree(small)
    averaged = iter(separate(_mean(joined)))
    means = [next(averaged) if leaf.size <= SMALL else _mean(leaf) for leaf in leaves]
    return jax.tree.unflatten(structure, means)


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`, in O(sqrt(number)) steps.

    Raises:
      ValueError: one of the two is below 1.
    """
    if number < 1 or most < 1:
        raise ValueError(f"{number} has no divisor from 1 to {most}")
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return max(n for low in small for n in (low, number // low) if n <= most)


def mean_over_parts(function: Callable[..., PyTree], most: int) -> Callable[..., PyTree]:
    """function(index [B], *args) on equal parts of the index, one after the other, averaged.

    Args:
      function: its results are means over its part of the batch.
      most: the largest size of a part; the largest divisor of B up to it is taken. 0: one part.
    """

    def run(index: Array, *args: PyTree) -> PyTree:
        size = largest_divisor(len(index), most or len(index))
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
    return function if mesh.shape[DATA] == 1 else _shard(function, mesh, PartitionSpec(DATA))


def _shard(function: Callable, mesh: Mesh, out: PartitionSpec) -> Callable:
    def run(index: Array, *args: PyTree) -> PyTree:
        specs = (PartitionSpec(DATA), *(PartitionSpec() for _ in args))
        mapped = jax.shard_map(
            function,
            mesh=mesh,
            in_specs=specs,
            out_specs=out,
            # The axis `model` is left to the partitioner where a row has several devices.
            axis_names={DATA} if mesh.shape[MODEL] > 1 else {DATA, MODEL},
            check_vma=False,
        )
        return mapped(index, *args)

    return run
