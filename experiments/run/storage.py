"""Where the files of a run lie: in a local folder, or in a bucket of Google Cloud Storage (gs://).

A bucket has no folders, no appending and no locks, but writes a file whole or not at all. A path in
one is an `epath.Path`, which has the methods of `pathlib.Path`.
"""

import importlib.util
import json
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from etils import epath

from experiments.validate import ConfigError

BUCKET = "gs://"
TEMPORARY = ".tmp-"  # prefix of files that are not finished; may be left behind by a kill


class WorkdirError(RuntimeError):
    """A folder or a file of a run cannot be used; the message says why and what to do."""


class DamagedFileError(WorkdirError):
    """A file of a run is not what the project writes; the message names it."""


def read_json(path: pathlib.Path, fields: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
      path: of the file.
      fields: {name: type} that the object must hold; it may hold others.

    Raises:
      DamagedFileError: the file is missing, is not readable or not UTF-8, or holds no such object.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise DamagedFileError(f"{path} holds no JSON object, but a {type(value).__name__}")
    for name, kind in fields.items():
        if name not in value:
            raise DamagedFileError(f"{path} has no field {name!r}")
        if not isinstance(value[name], kind):
            raise DamagedFileError(
                f"{path}: {name}={value[name]!r} has another type than it should"
            )
    return value


def path_of(flag: str, value: str) -> pathlib.Path:
    """The value of --FLAG, as a path; `~` is the home folder.

    Raises:
      ConfigError: it is neither a local path nor in a bucket, or what buckets need is missing.
    """
    if "://" not in value:
        return pathlib.Path(value).expanduser()
    if not value.startswith(BUCKET) or not value.removeprefix(BUCKET).strip("/"):
        raise ConfigError(f"--{flag}={value} must be a local folder or {BUCKET}BUCKET/FOLDER")
    if importlib.util.find_spec("gcsfs") is None:
        raise ConfigError(f"--{flag}={value} needs the extra `gcs`: pip install '.[gcs]'")
    return epath.Path(value)


def in_bucket(path: pathlib.Path) -> bool:
    """Whether a path is not local."""
    return not isinstance(path, pathlib.Path)


def logs_of(folder: pathlib.Path) -> pathlib.Path:
    """The local folder of the output of a sweep's workers: in its own folder, or else here."""
    return pathlib.Path.cwd() / f"{folder.name}-logs" if in_bucket(folder) else folder / "logs"


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a file that is either whole or not there, whatever happens."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    if in_bucket(path):
        path.write_text(text)
        return
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class GrowingFile:
    """A text file to which lines are added.

    In a bucket it is written anew, at most every `SECONDS` and whenever it is flushed.
    """

    SECONDS = 30.0

    def __init__(self, path: pathlib.Path, lines: list[str]):
        """Starts with these lines, in place of what is there."""
        self._path, self._text = path, "".join(f"{line}\n" for line in lines)
        write_text(path, self._text)
        self._file = None if in_bucket(path) else path.open("a")
        self._written = time.monotonic()

    def add(self, text: str) -> None:
        """Adds lines, which a kill leaves whole or not at all."""
        if self._file is not None:
            self._file.write(text)
            self._file.flush()
            return
        self._text += text
        if time.monotonic() - self._written > self.SECONDS:
            self.flush()

    def flush(self) -> None:
        """Returns when everything is there."""
        if self._file is None:
            write_text(self._path, self._text)
            self._written = time.monotonic()

    def close(self) -> None:
        """The last flush."""
        self.flush()
        if self._file is not None:
            self._file.close()
