"""config.json: the settings of a run, which its later launches are compared with."""

import inspect
import pathlib
from typing import Any

import jax.numpy as jnp

from plasticity.configs import base
from plasticity.experiments.run.checked import read
from plasticity.experiments.run.storage import DamagedFileError, WorkdirError
from plasticity.learner import SCHEDULES
from plasticity.registry import lookup
from plasticity.tasks import TASKS

# Renamed fields, {section: {old name: new name}}: a run of the old name still resumes.
RENAMED = {"model": {"products": "matmul_precision"}}
SECTIONS = ("task", "model", "rule")  # that, like train, the config of every run has


def read_config(path: pathlib.Path) -> dict[str, Any]:
    """The config in a file.

    Settings that are newer than the run are filled in with their defaults, under which it would
    have been the same.

    Raises:
      DamagedFileError: the file holds no config.
    """
    stored = read(path, dict.fromkeys(SECTIONS, dict) | {"train": {"steps": int}})
    try:
        return _with_defaults(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} holds no config of a run: {error}") from error


def _with_defaults(stored: dict[str, Any]) -> dict[str, Any]:
    for section, names in RENAMED.items():
        stored[section] = {names.get(k, k): v for k, v in stored[section].items()}
    defaults = base.get_config(stored["model"]["name"]).to_dict()
    task = inspect.signature(lookup(TASKS, stored["task"]["name"], "task.name")).parameters
    defaults["task"] = {name: p.default for name, p in task.items() if p.default is not p.empty}
    whole = defaults | stored
    for section, fields in defaults.items():
        if isinstance(fields, dict):
            whole[section] = fields | whole[section]
    return whole


def differences(a: Any, b: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Fields in which two nested dicts differ: (dotted name, value in a, value in b)."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            change
            for key in sorted(a.keys() | b.keys())
            for change in differences(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if a == b else [(prefix, a, b)]


def check_extension(
    path: pathlib.Path, before: dict[str, Any], now: dict[str, Any], done: int
) -> None:
    """Checks that the `done` steps of a run are those of a run of `now["steps"]`.

    Args:
      path: of the workdir. before, now: the section `train` of the config, there and here.

    Raises:
      WorkdirError: more steps are done, or their learning rates depend on train.steps.
    """
    if now["steps"] < done:
        raise WorkdirError(
            f"train.steps={now['steps']} is less than the {done} steps that the run in "
            f"--workdir={path} has done. Choose another workdir for a shorter run."
        )
    if now["steps"] == before["steps"]:
        return
    schedule, warmup = lookup(SCHEDULES, now["schedule"], "train.schedule"), now["warmup"]
    past = jnp.arange(max(0, done - warmup))
    there, here = (schedule(train["steps"] - warmup)(past) for train in (before, now))
    if jnp.any(there != here):
        raise WorkdirError(
            f"train.steps={now['steps']} cannot extend the run of train.steps={before['steps']} in "
            f"--workdir={path}: the learning rates of the {done} steps that it has done would have "
            f"been others by train.schedule={now['schedule']!r}. Choose another workdir."
        )
