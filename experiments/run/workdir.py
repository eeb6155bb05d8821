"""The folder of a run: what lies in it, and the rule that nothing in it is ever lost.

config.json     the resolved config            metrics.jsonl  one JSON object a line
manifest.json   versions, device, argv, seed   checkpoints/   Orbax
result.json     written last: a run with one is complete
"""

import contextlib
import datetime
import fcntl
import importlib.metadata
import inspect
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from configs import base
from experiments.run.storage import TEMPORARY, WorkdirError, in_bucket, path_of, write_json
from plasticity.tasks import TASKS

LOCK = ".lock"
PACKAGES = (
    "plasticity",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "ml_collections",
)


class Workdir:
    """Paths of a run, and the checks that guard them."""

    def __init__(self, path: str):
        given = path_of("workdir", path)
        self.path = given if in_bucket(given) else given.absolute()
        self.config = self.path / "config.json"
        self.manifest = self.path / "manifest.json"
        self.metrics = self.path / "metrics.jsonl"
        self.result = self.path / "result.json"
        self.checkpoints = self.path / "checkpoints"

    def open(self, config: ConfigDict) -> None:
        """Makes the folder the run's own, or finds that it is already.

        Raises:
          WorkdirError: it holds the run of another config, or files that are not a run's.
        """
        if self.config.exists():
            self._check_same(config)
            return
        there = self.path.iterdir() if self.path.exists() else ()
        strange = [p.name for p in there if p.name != LOCK and TEMPORARY not in p.name]
        if strange:
            raise WorkdirError(
                f"--workdir={self.path} holds files but no config.json, so it is not a run's: "
                f"{', '.join(sorted(strange)[:5])}. Choose a new or empty folder."
            )
        write_json(self.config, config.to_dict())

    def load_config(self) -> dict[str, Any]:
        """The config that the run was started with.

        Settings that are newer than the run are filled in with their defaults, under which it
        would have been the same.
        """
        if not self.config.exists():
            raise WorkdirError(f"--workdir={self.path} holds no run: there is no config.json")
        return _completed(json.loads(self.config.read_text()))

    def _check_same(self, config: ConfigDict) -> None:
        stored = self.load_config()
        wanted = json.loads(json.dumps(config.to_dict()))
        changed = differences(stored, wanted)
        if changed:
            raise WorkdirError(
                f"--workdir={self.path} holds a run of another config:\n  "
                + "\n  ".join(f"{f}: there {a!r}, here {b!r}" for f, a, b in changed)
                + "\nChoose another workdir, or drop these overrides to resume that run."
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Creates the folder and holds it: one process at a time trains in a workdir.

        Nothing is held in a bucket, which has no locks.
        """
        if in_bucket(self.path):
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / LOCK).open("a")
        except OSError as error:
            raise WorkdirError(f"--workdir={self.path} cannot be written: {error}") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WorkdirError(f"--workdir={self.path} is in use by another process") from error
            except OSError as error:
                raise WorkdirError(f"--workdir={self.path} cannot be locked: {error}") from error
            yield


def _completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored config with what it lacks, or, if it is none of ours, as it is."""
    try:
        return _with_defaults(stored)
    except (KeyError, TypeError, ValueError):
        return stored


# Renamed fields, {section: {old name: new name}}: a run that was started under the old name still
# resumes.
RENAMED = {"model": {"products": "matmul_precision"}}


def _with_defaults(stored: dict[str, Any]) -> dict[str, Any]:
    for section, names in RENAMED.items():
        stored[section] = {names.get(k, k): v for k, v in stored[section].items()}
    defaults = base.get_config(stored["model"]["name"]).to_dict()
    task = inspect.signature(TASKS[stored["task"]["name"]]).parameters
    defaults["task"] = {name: p.default for name, p in task.items() if p.default is not p.empty}
    whole = defaults | stored
    for section, fields in defaults.items():
        if isinstance(fields, dict):
            whole[section] = fields | whole[section]
    return whole


def write_manifest(workdir: Workdir, config: ConfigDict, data_checksum: str | None) -> None:
    """Records this launch. The first one stands at the top, later ones under `resumed`.

    `data_checksum`: of the task's images; None: it makes its episodes itself.
    """
    launch = describe_launch()
    if not workdir.manifest.exists():
        first = launch | {"seed": config.seed, "data_checksum": data_checksum, "resumed": []}
        write_json(workdir.manifest, first)
        return
    manifest = json.loads(workdir.manifest.read_text())
    manifest["resumed"].append(launch)
    write_json(workdir.manifest, manifest)


def describe_launch() -> dict[str, Any]:
    """When, how, with which versions and on what this process was started."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "argv": sys.argv,
        "python": platform.python_version(),
        "revision": _revision(),
        "versions": {name: _version(name) for name in PACKAGES},
        "device": device_name(),
        "device_count": jax.device_count(),
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


def differences(a: Any, b: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Fields in which two nested dicts differ: (dotted name, value in a, value in b)."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            change
            for key in sorted(a.keys() | b.keys())
            for change in differences(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if a == b else [(prefix, a, b)]
