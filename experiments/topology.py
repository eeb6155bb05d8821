"""Accelerators that programs are compiled for without having any, and their data sheets."""

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.experimental import topologies

from plasticity.commands import install
from plasticity.experiments.validate import ConfigError


class Chip(NamedTuple):
    """A data sheet."""

    peak: float  # operations per second in bfloat16
    memory: float  # bytes
    bandwidth: float  # of the memory, bytes per second
    near: float  # of the links within a row of devices, bytes per second
    far: float  # of the links between rows
    clock: float  # cycles per second, of the compiler's estimates


# From the vendors' data sheets: TPUs with all links of the torus; GPUs with NVLink within a node
# and 400 Gb/s each between nodes. The clocks of TPUs follow from the peak and the multipliers.
CHIPS = {
    "TPU v4": Chip(275e12, 32e9, 1.23e12, 300e9, 300e9, 1.05e9),
    "TPU v5e": Chip(197e12, 16e9, 0.82e12, 200e9, 200e9, 1.5e9),
    "TPU v5p": Chip(459e12, 95e9, 2.77e12, 600e9, 600e9, 1.75e9),
    "TPU v6e": Chip(918e12, 32e9, 1.64e12, 400e9, 400e9, 1.75e9),
    "H100": Chip(989e12, 80e9, 3.35e12, 450e9, 50e9, 1.98e9),
    "H200": Chip(989e12, 141e9, 4.8e12, 450e9, 50e9, 1.98e9),
}
# The torus of each generation, and what else JAX asks for: that the two cores of a chip of v4 count
# as one device, as on the machines themselves.
_TPUS = {
    "v4": ("AxBxC", {"chip_config_name": "megacore"}),
    "v5e": ("AxB", {}),
    "v5p": ("AxBxC", {}),
    "v6e": ("AxB", {}),
}
NAMES = ", ".join([*(f"{name}:{torus}" for name, (torus, _) in _TPUS.items()), "h100:N"])
# What XLA would ask an H100 (a text proto, `GpuTargetConfigProto`).
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84942979072
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 patch: 0 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
_PER_HOST = 8  # GPUs
MOST_DEVICES = 4096  # of one program, for XLA to compile in reasonable time
# libtpu asks the cloud's metadata server what machine this is, and its lock file admits one
# process. To compile, neither matters.
_WITHOUT_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


class Topology(NamedTuple):
    """Devices that programs can be compiled for, but not run on."""

    name: str
    chip: str  # a name in `CHIPS`
    devices: Sequence[jax.Device]


def topology(name: str) -> Topology:
    """The topology of a name, such as "v5e:2x2".

    Raises:
      ConfigError: there is none of this name, or the compiler for it is not installed.
    """
    if gpus := re.fullmatch(r"h100:([1-9]\d{0,3})", name, re.ASCII):
        return _gpus(name, int(gpus[1]))
    match = re.fullmatch(r"(\w+):([1-9]\d{0,3}(?:x[1-9]\d{0,3}){1,2})", name, re.ASCII)
    torus, options = _TPUS.get(match[1], ("", {})) if match else ("", {})
    if not match or match[2].count("x") != torus.count("x"):
        raise ConfigError(
            f"--topology={name} must be one of {NAMES}, with the sides of a torus of TPUs (a host "
            "has 2x2 of them: v5e:2x2 is one host, v5e:4x4 and v5p:2x2x4 are four), or N GPUs"
        )
    if not _is_there("libtpu"):
        raise ConfigError(
            f"--topology={name} needs the compiler for TPUs, libtpu, which runs on x86-64 Linux: "
            f"{install('tpu')}"
        )
    for variable, value in _WITHOUT_TPU.items():
        os.environ.setdefault(variable, value)
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **options)
    except jax.errors.JaxRuntimeError as error:
        raise ConfigError(f"--topology={name} is none of {NAMES}: {error}") from error
    if len(found.devices) > MOST_DEVICES:
        raise ConfigError(f"--topology={name} must have at most {MOST_DEVICES} devices")
    return Topology(name, f"TPU {match[1]}", found.devices)


def _gpus(name: str, count: int) -> Topology:
    """H100s, eight to a host."""
    if (count > _PER_HOST and count % _PER_HOST) or count > MOST_DEVICES:
        raise ConfigError(
            f"--topology={name} must be at most {_PER_HOST} GPUs, of one host, or a multiple of "
            f"{_PER_HOST} up to {MOST_DEVICES}"
        )
    if not any(_is_there(f"jax_plugins.xla_{version}") for version in ("cuda12", "cuda13")):
        raise ConfigError(
            f"--topology={name} needs JAX's plugin for CUDA, which holds the compiler: "
            f"{install('cuda12')}"
        )
    found = topologies.get_topology_desc(
        platform="cuda",
        topology_name="",
        topology=f"1x{max(count // _PER_HOST, 1)}x{min(count, _PER_HOST)}",
        target_config=_H100,
    )
    return Topology(name, "H100", found.devices)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
