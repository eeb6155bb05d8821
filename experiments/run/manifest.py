"""manifest.json: when, how, with which versions and on what a run was launched."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import jax
from ml_collections import ConfigDict

from plasticity.experiments.run.checked import read
from plasticity.experiments.run.storage import is_there, write_json
from plasticity.experiments.run.stored_config import registered_by
from plasticity.experiments.run.workdir import MANIFEST, Workdir

PACKAGES = (
    "plasticity", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml_collections",
)  # fmt: skip


def write_manifest(
    workdir: Workdir, config: ConfigDict, data_checksum: str | None, together: int
) -> None:
    """Records this launch. The first one stands at the top, later ones under `resumed`.

    Args:
      data_checksum: of the task's images; None: of a task that generates its episodes.
      together: how many runs train in one program, this one included.
    """
    launch = describe_launch() | {"steps": config.train.steps, "together": together}
    launch |= registered_by(config)
    if is_there(workdir.manifest):
        manifest = read(workdir.manifest, MANIFEST)
        manifest["resumed"].append(launch)
    else:
        manifest = launch | {"seed": config.seed, "data_checksum": data_checksum, "resumed": []}
    write_json(workdir.manifest, manifest)


def describe_launch(apart: bool = False) -> dict[str, Any]:
    """When, how, with which versions and on what this process was started.

    If its workers run `apart`, on other devices, these are in the manifests of their runs.
    """
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "argv": sys.argv,
        "python": platform.python_version(),
        "revision": _revision(),
        "versions": {name: _version(name) for name in PACKAGES},
        "device": "of the workers: see the manifest of each run" if apart else device_name(),
        "device_count": None if apart else jax.device_count(),
        "host": {"machine": platform.machine(), "cores": os.cpu_count()},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a folder, not installed
        return None


def _revision() -> str | None:
    """The commit of the source, with a + if files differ from it; None outside a clone."""
    source = pathlib.Path(__file__).parent
    command = ["git", "-C", str(source), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def device_name() -> str:
    """The kind of device that computes, such as "cpu" or "NVIDIA H100"."""
    return jax.devices()[0].device_kind
