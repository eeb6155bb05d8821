"""The folder of a run: what lies in it, and the rule that nothing in it is ever lost.

config.json     the resolved config            metrics.jsonl  one JSON object a line
manifest.json   versions, device, argv, seed   checkpoints/   Orbax
result.json     written last: a run with one is complete
result-N.json   the result after N updates, of a run that was extended
"""

import contextlib
import fcntl
import fnmatch
import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from experiments.run.storage import (
    TEMPORARY,
    DamagedFileError,
    WorkdirError,
    check_folder,
    in_bucket,
    path_of,
    read_json,
    read_rows,
    write_json,
)
from experiments.run.stored_config import check_extension, differences, read_config
from experiments.validate import validate

LOCK = ".lock"
# The fields of a run's files that every reader relies on.
RESULT = {"status": str, "steps": int, "metrics": dict, "metrics_plasticity_off": dict}
ROW = {"step": int, "split": str}  # of metrics.jsonl
MANIFEST = {"resumed": list}
# What a new disk, a desktop, a file server or a scheduler leaves in a folder. No run writes them.
HARMLESS = (
    LOCK, f"{TEMPORARY}*", "lost+found", "*.out", "*.err", "*.log", ".nfs*", ".DS_Store", "._*",
    ".Trash*", ".snapshot", "Thumbs.db", "desktop.ini",
)  # fmt: skip


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

    def complete(self, steps: int | None = None) -> bool:
        """Whether result.json is there and is the result of `steps` updates.

        Args:
          steps: train.steps of the run that is wanted; None: of config.json.

        Raises:
          DamagedFileError: result.json, or config.json, is not what a run writes.
        """
        if not self.result.exists():
            return False
        wanted = self.load_config()["train"]["steps"] if steps is None else steps
        return read_json(self.result, RESULT)["steps"] == wanted

    def check(self, config: ConfigDict) -> None:
        """Checks that the run of `config` may start or go on here. Writes nothing.

        Raises:
          WorkdirError: the folder cannot be written, it holds the run of another config or files
            that are not a run's, a file of the run is damaged, or its checkpoints are gone.
        """
        check_folder("workdir", self.path)
        if not self.config.exists():
            self._check_no_stranger()
            return
        stored, wanted = self.load_config(), json.loads(json.dumps(config.to_dict()))
        if self.manifest.exists():
            read_json(self.manifest, MANIFEST)
        rows = read_rows(self.metrics, ROW) if self.metrics.exists() else []
        result = [read_json(self.result, RESULT)["steps"]] if self.result.exists() else []
        saved = self.saved_steps()
        changed = differences(stored, wanted)
        if any(field != "train.steps" for field, _, _ in changed):
            raise WorkdirError(
                f"--workdir={self.path} holds a run of another config:\n  "
                + "\n  ".join(f"{f}: there {a!r}, here {b!r}" for f, a, b in changed)
                + "\nChoose another workdir, or drop these overrides to resume that run."
            )
        check_extension(self.path, stored["train"], wanted["train"], max([0, *saved, *result]))
        if not any(saved) and config.train.steps not in result:
            logged = max((row["step"] for row in rows), default=0)
            self._check_nothing_lost(saved, logged, 2 * config.checkpoint.every)

    def open(self, config: ConfigDict) -> None:
        """Makes the folder the run's own, or finds that it is already.

        The result of fewer steps than are wanted now is kept as result-STEPS.json.

        Raises:
          WorkdirError: as `check`.
        """
        self.check(config)
        if self.result.exists() and not self.complete(config.train.steps):
            steps = read_json(self.result, RESULT)["steps"]
            self.result.rename(free_name(self.path, f"result-{steps}"))
        if not self.config.exists() or self.load_config()["train"]["steps"] != config.train.steps:
            write_json(self.config, config.to_dict())

    def saved_steps(self) -> list[int]:
        """The steps of which there are checkpoints, in order; 0 is the initial state.

        Raises:
          WorkdirError: `checkpoints` is not a folder.
        """
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise WorkdirError(f"{self.checkpoints} is a file, but must be a folder of checkpoints")
        return sorted(ocp.utils.checkpoint_steps(self.checkpoints))

    def load_config(self) -> dict[str, Any]:
        """The config that the run was started with, as `read_config`.

        Raises:
          WorkdirError: there is none. DamagedFileError: config.json holds no config.
        """
        if not self.config.exists():
            raise WorkdirError(f"--workdir={self.path} holds no run: there is no config.json")
        return read_config(self.config)

    def trained_config(self) -> ConfigDict:
        """The config that the run was started with, checked by `validate`.

        Raises:
          WorkdirError: there is none. DamagedFileError: it is not valid.
        """
        stored = self.load_config()
        try:
            config = ConfigDict(stored)
            validate(config)
        except ValueError as error:
            raise DamagedFileError(f"{self.config}: {error}") from error
        return config

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Creates the folder and locks it, except in a bucket: one process at a time trains."""
        if in_bucket(self.path):
            yield
            return
        with contextlib.ExitStack() as held:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                handle = held.enter_context((self.path / LOCK).open("a"))
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WorkdirError(f"--workdir={self.path} is in use by another process") from error
            except OSError as error:
                raise WorkdirError(f"--workdir={self.path} cannot be locked: {error}") from error
            yield

    def _check_no_stranger(self) -> None:
        there = [path.name for path in self.path.iterdir()] if self.path.exists() else []
        names = sorted(n for n in there if not any(fnmatch.fnmatch(n, h) for h in HARMLESS))
        if names:
            raise WorkdirError(
                f"--workdir={self.path} holds files but no config.json, so it is not a run's: "
                f"{', '.join(names[:5])}. Choose a new or empty folder; if it is the folder of a "
                "run, put its config.json back."
            )

    def _check_nothing_lost(self, saved: list[int], logged: int, limit: int) -> None:
        """Refuses to start from step 0 where a run got further.

        A run saves its initial state before it creates metrics.jsonl. When it logs step s, the
        checkpoints up to s - 2 * checkpoint.every are on disk; the next may be in the making.

        Args:
          saved: [] or [0]. logged: the last step in metrics.jsonl. limit: for that step.
        """
        traces = ["checkpoints-damaged", "result*.json"]
        traces += [] if saved else ["evaluation-*.json", "metrics.jsonl"]
        there = sorted(path.name for name in traces for path in self.path.glob(name))
        if logged > limit:
            there.append(f"metrics of step {logged}")
        if there:
            raise WorkdirError(
                f"--workdir={self.path} holds {', '.join(there)}, but its checkpoints are gone: "
                "the run would start again from step 0. Put the checkpoints back into "
                f"{self.checkpoints}, or choose another workdir. To start anew here, move what is "
                "left of the run away first."
            )


def free_name(folder: pathlib.Path, stem: str) -> pathlib.Path:
    """STEM.json in a folder, or, if that exists, STEM-2.json, STEM-3.json, ..."""
    suffixes = itertools.chain([""], (f"-{count}" for count in itertools.count(2)))
    names = (folder / f"{stem}{suffix}.json" for suffix in suffixes)
    return next(name for name in names if not name.exists())
