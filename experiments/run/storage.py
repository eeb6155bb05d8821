"""Files of a run, in a local folder or in a bucket of Google Cloud Storage (gs://).

A bucket has no folders, no appending and no locks, but writes a file whole or not at all. A path in
one is an `epath.Path`, which has the methods of `pathlib.Path`.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import resource
import time
from collections.abc import Iterator
from typing import Any

from etils import epath

from plasticity.commands import install
from plasticity.experiments.validate import ConfigError

BUCKET = "gs://"
TEMPORARY = ".tmp-"  # prefix of unfinished files; a kill may leave one behind


class WorkdirError(RuntimeError):
    """A folder or a file of a run cannot be used; the message says why and what to do."""


class DamagedFileError(WorkdirError):
    """A file of a run is not what the project writes; the message names it."""


class CheckpointError(RuntimeError):
    """Checkpoints cannot be saved, or none can be read."""


def path_of(flag: str, value: str) -> pathlib.Path:
    """The value of --FLAG, as a path; `~` is the home folder.

    Raises:
      ConfigError: it is neither a local path nor in a bucket, or what buckets need is missing.
    """
    if "://" not in value:
        try:
            path = pathlib.Path(value).expanduser()
            path.exists()
            return path
        except RuntimeError as error:  # ~NAME of no user
            raise ConfigError(f"--{flag}={value}: {value.split('/')[0]} is no user") from error
        except OSError as error:  # no file can have this name, or no permission to look
            raise ConfigError(f"--{flag}={value} cannot be used: {error.strerror}") from error
    if not value.startswith(BUCKET) or not value.removeprefix(BUCKET).strip("/"):
        raise ConfigError(f"--{flag}={value} must be a local folder or {BUCKET}BUCKET/FOLDER")
    if importlib.util.find_spec("gcsfs") is None:
        raise ConfigError(f"--{flag}={value} needs the extra `gcs`: {install('gcs')}")
    return epath.Path(value)


def check_folder(flag: str, path: pathlib.Path) -> None:
    """Checks that the folder --FLAG can be made, if it is not there, and written. Makes nothing.

    Raises:
      WorkdirError: it cannot.
    """
    if in_bucket(path):
        return
    problem: str | None = None
    try:
        place = next(place for place in (path, *path.parents) if os.path.lexists(place))
        if place.is_symlink() and not place.exists():
            problem = f"{place} is a link to {place.readlink()}, which does not exist"
        elif not place.is_dir():
            problem = f"{place} is a file, not a folder"
        elif not os.access(place, os.W_OK | os.X_OK):
            problem = f"no permission to write in {place}"
        path.exists()  # raises if no folder can have this name
    except OSError as error:
        problem = error.strerror
    if problem:
        raise WorkdirError(f"--{flag}={path} cannot be written: {problem}")


def is_there(path: pathlib.Path) -> bool:
    """Whether there is anything of this name, if only a broken link."""
    return path.exists() if in_bucket(path) else os.path.lexists(path)


OPEN_FILES = 64  # that saving a checkpoint may open at once, and a margin


def check_open_files() -> None:
    """Raises WorkdirError where the system allows too few open files to save checkpoints."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < OPEN_FILES:  # negative: no limit
        raise WorkdirError(
            f"the system allows {allowed} open files, but saving checkpoints needs {OPEN_FILES}: "
            "raise the limit, for example by `ulimit -n 1024`"
        )


def in_bucket(path: pathlib.Path) -> bool:
    """Whether a path is not local."""
    return not isinstance(path, pathlib.Path)


def logs_of(folder: pathlib.Path) -> pathlib.Path:
    """The local folder for the output of a sweep's workers; of a bucket, in the current folder."""
    return pathlib.Path.cwd() / f"{folder.name}-logs" if in_bucket(folder) else folder / "logs"


def write_json(path: pathlib.Path, value: Any) -> None:
    """As `write_text`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file atomically: after a kill it is whole or as before."""
    if in_bucket(path):
        path.write_text(text)
        return
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    with _named(path), temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def _named(path: pathlib.Path) -> Iterator[None]:
    """An error inside, such as a full disk, names the file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


class GrowingFile:
    """A text file to which lines are added.

    In a bucket the whole file is written, at most every `SECONDS` and at every flush.
    """

    SECONDS = 30.0

    def __init__(self, path: pathlib.Path, lines: list[str]):
        """Replaces the file by these lines."""
        self._path, self._text = path, "".join(f"{line}\n" for line in lines)
        write_text(path, self._text)
        self._written = time.monotonic()

    def add(self, text: str) -> None:
        """Adds lines."""
        if not in_bucket(self._path):
            with _named(self._path), self._path.open("a") as file:
                file.write(text)
            return
        self._text += text
        if time.monotonic() - self._written > self.SECONDS:
            self.flush()

    def flush(self) -> None:
        """Returns when all lines are in the file."""
        if in_bucket(self._path):
            write_text(self._path, self._text)
            self._written = time.monotonic()
