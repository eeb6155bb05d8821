"""Means over a batch on the devices of a mesh, which share its episodes, and the wide layers."""

from collections.abc import Callable
from functools import partial

from jax.sharding import Mesh, PartitionSpec

from plasticity.network import Network
from plasticity.sharding import mean_over_devices, mean_over_parts
from plasticity.shares import MODEL
from plasticity.types import PyTree

Specs = Callable[[PyTree], PyTree]  # (specs of the parameters) -> specs of the results


def one_number(params: PyTree) -> PartitionSpec:
    """Specs of results that are the same on all devices."""
    del params
    return PartitionSpec()


def like_parameters(params: PyTree) -> PyTree:
    """Specs of a gradient: those of the parameters."""
    return params


def metrics_and_gradient(params: PyTree) -> tuple[PartitionSpec, PyTree]:
    """Specs of a pair: metrics, which are the same on all devices, and a gradient."""
    return PartitionSpec(), params


def mean_over_batch(
    function: Callable[..., PyTree],
    loss: Callable[..., PyTree],
    network: Network,
    mesh: Mesh,
    most: int = 0,
    results: Specs = one_number,
) -> Callable[..., PyTree]:
    """(index [B], params, ...) -> the mean of function(loss, index, params, ...) over the batch.

    Args:
      function: (loss, index, params, ...) -> means over the episodes with these indices.
      loss: `Learner.loss`.
      network: of the loss, on one device.
      mesh: of a `Layout`.
      most: episodes that a device takes at once, at most; 0: all of its share.
      results: specs of the results, for devices that share layers.
    """
    devices = mesh.shape[MODEL]
    split = None if network.part(devices) is None else network.backbone.shard_by
    in_parts = mean_over_parts(partial(function, partial(loss, devices=devices)), most)
    return mean_over_devices(in_parts, mesh, split, results)
