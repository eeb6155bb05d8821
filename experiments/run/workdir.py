"""The folder of a run: what lies in it, and the rule that nothing in it is ever lost.

config.json     the resolved config            metrics.jsonl  one JSON object a line
manifest.json   versions, device, argv, seed   checkpoints/   Orbax
result.json     written last: a run with one is complete
result-N.json   the result after N updates, of a run that was extended
trackers.json   by what trackers know the run  tensorboard/, wandb/  what they wrote
"""

import contextlib
import dataclasses
import fcntl
import fnmatch
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from plasticity.experiments.run.checked import read, read_lines
from plasticity.experiments.run.result import read_result
from plasticity.experiments.run.storage import (
    TEMPORARY,
    DamagedFileError,
    WorkdirError,
    check_folder,
    in_bucket,
    is_there,
    path_of,
    write_json,
    write_text,
)
from plasticity.experiments.run.stored_config import (
    check_extension,
    differences,
    read_config,
    registered_by,
)
from plasticity.experiments.validate import validate
from plasticity.registry import shown
from plasticity.sharding import Layout

LOCK = ".lock"
# The fields that every reader of these files relies on.
ROW = {"step": int, "split": str}  # of metrics.jsonl
MANIFEST = {"resumed": list}
IDENTITY = {"id": str, "group": str}  # of trackers.json
# What a new disk, a desktop, a file server or a scheduler leaves in a folder. No run writes them.
HARMLESS = (
    LOCK, f"{TEMPORARY}*", "lost+found", "*.out", "*.err", "*.log", ".nfs*", ".DS_Store", "._*",
    ".Trash*", ".snapshot", "Thumbs.db", "desktop.ini",
)  # fmt: skip


class Workdir:
    """Paths of a run, and the checks that guard them."""

    def __init__(self, path: str, given_by: str = "--workdir"):
        self.given_by = given_by
        given = path_of("workdir", path)
        self.path = given if in_bucket(given) else given.absolute()
        self.config = self.path / "config.json"
        self.manifest = self.path / "manifest.json"
        self.metrics = self.path / "metrics.jsonl"
        self.result = self.path / "result.json"
        self.trackers = self.path / "trackers.json"
        self.checkpoints = self.path / "checkpoints"

    def result_steps(self) -> int:
        """The updates after which result.json was written; 0: there is none; see `read_result`."""
        if not is_there(self.result):
            return 0
        return read_result(self.result, self.load_config()["train"]["steps"])["steps"]

    def check(self, config: ConfigDict) -> str | None:
        """Checks that the run of `config` may start or go on here. Writes nothing.

        Returns:
          A warning, if rows are missing in metrics.jsonl.

        Raises:
          WorkdirError: the folder cannot be written, it holds the run of another config or files
            that are not a run's, a file of the run is damaged, or its checkpoints are gone.
        """
        check_folder("workdir", self.path)
        if not is_there(self.config):
            self._check_no_stranger()
            return None
        stored, wanted = self.load_config(), json.loads(json.dumps(config.to_dict()))
        if is_there(self.manifest):
            read(self.manifest, MANIFEST)
        if is_there(self.trackers):
            read(self.trackers, IDENTITY)
        rows = read_lines(self.metrics, ROW) if is_there(self.metrics) else []
        logged = max((row["step"] for row in rows), default=0)
        saved, done = self.saved_steps(), self.result_steps()
        changed = differences(stored, wanted)
        # A stream of tasks has its boundaries by the steps of the whole run.
        free = {"train.steps"} if stored["task"].get("tasks", 1) == 1 else set()
        if any(field not in free for field, _, _ in changed):
            raise WorkdirError(
                f"--workdir={self.path} holds a run of another config:\n  "
                + "\n  ".join(f"{f}: there {shown(a)}, here {shown(b)}" for f, a, b in changed)
                + "\nChoose another workdir, or drop these overrides to resume that run."
            )
        check_extension(self.path, stored, wanted, max([*saved, done]))
        if not any(saved) and config.train.steps != done:
            self._check_nothing_lost(saved, logged, 2 * config.checkpoint.every)
        missing = max(saved, default=0) // config.log.every * config.log.every
        lacks = f"warning: {self.metrics} lacks the rows after step {logged} up to {missing}"
        return lacks if logged < missing else None

    def open(self, config: ConfigDict) -> None:
        """Makes the folder the run's own, or finds that it is already.

        The result of fewer steps than are wanted now is kept as result-STEPS.json.

        Raises:
          WorkdirError: as `check`.
        """
        if warning := self.check(config):
            print(warning, file=sys.stderr, flush=True)
        steps = config.train.steps
        before = self.load_config()["train"]["steps"] if is_there(self.config) else steps
        if before != steps and before % config.log.every and is_there(self.metrics):
            self._drop_row(before)
        if is_there(self.result) and self.result_steps() != steps:
            self.result.rename(free_name(self.path, f"result-{self.result_steps()}"))
        if before != steps or not is_there(self.config):
            write_json(self.config, config.to_dict() | registered_by(config))

    def _drop_row(self, step: int) -> None:
        """Drops the row that only the last step of a shorter run has; a divergence has one too."""
        rows = read_lines(self.metrics, ROW)
        last = [row for row in rows if (row["step"], row["split"]) == (step, "train")]
        if not any(None in row.values() for row in last):
            kept = [json.dumps(row) + "\n" for row in rows if row not in last]
            write_text(self.metrics, "".join(kept))

    def saved_steps(self) -> list[int]:
        """The steps of which there are checkpoints, in order; 0 is the initial state.

        Raises:
          WorkdirError: something is there that Orbax would wait for, follow or remove.
        """
        if is_there(self.checkpoints) and not self.checkpoints.is_dir():
            raise WorkdirError(f"{self.checkpoints} is a file, but must be a folder of checkpoints")
        for folder, folders, files in os.walk(self.checkpoints):
            for path in (pathlib.Path(folder, name) for name in (*folders, *files)):
                usual = path.is_file() or path.is_dir() or not is_there(path)
                if path.parent == self.checkpoints and path.name.isdigit():
                    usual = path.is_dir() and not path.is_symlink() and path.name.isascii()
                if not usual:
                    raise WorkdirError(f"{path} is no part of a checkpoint: move it away")
        steps = ocp.utils.checkpoint_steps(self.checkpoints)
        return sorted(step for step in steps if (self.checkpoints / str(step)).is_dir())

    def load_config(self) -> dict[str, Any]:
        """The config that the run was started with, as `read_config`; WorkdirError: none."""
        if not is_there(self.config):
            raise WorkdirError(f"{self.given_by}={self.path} holds no run: there is no config.json")
        return read_config(self.config)

    def trained_config(self) -> ConfigDict:
        """As `load_config`, checked by `validate`; DamagedFileError: it is not valid.

        It is laid out over the devices that are here: on which ones a network was trained is no
        property of it.
        """
        config = ConfigDict(self.load_config())
        try:
            validate(config, here=False)
        except ValueError as error:
            raise DamagedFileError(f"{self.config}: {error}") from error
        config.mesh.update(dataclasses.asdict(Layout()))
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
                flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK  # no waiting for a named pipe
                handle = os.open(self.path / LOCK, flags, 0o666)
                held.callback(os.close, handle)
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
        `saved`: [] or [0]. `limit`: of the last step that is `logged`.
        """
        traces = ["checkpoints-damaged", "result*.json"]
        traces += [] if saved else ["evaluation-*.json", "metrics.jsonl"]
        there = sorted(path.name for name in traces for path in self.path.glob(name))
        there += [f"metrics of step {logged}"] if logged > limit else []
        if there:
            raise WorkdirError(
                f"--workdir={self.path} holds {', '.join(there)}, but its checkpoints are gone: "
                "the run would start again from step 0. Put the checkpoints back into "
                f"{self.checkpoints}, or choose another workdir. To start anew here, move these "
                "files away first."
            )


def free_name(folder: pathlib.Path, stem: str) -> pathlib.Path:
    """STEM.json in a folder, or, if that exists, STEM-2.json, STEM-3.json, ..."""
    suffixes = itertools.chain([""], (f"-{count}" for count in itertools.count(2)))
    names = (folder / f"{stem}{suffix}.json" for suffix in suffixes)
    return next(name for name in names if not is_there(name))
