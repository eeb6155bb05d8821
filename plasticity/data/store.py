"""Prepared images: where they are stored, and how they are read.

PLASTICITY_DATA_DIR (default: the user's cache directory) holds one folder per data set and state of
its archives, written whole or not at all:

  NAME/KEY/images.npy      uint8 [classes, images per class, H, W, channels]
  NAME/KEY/manifest.json   checksums of the archives, whether they are the published ones, classes

KEY is a hash of the archives' checksums and of the preprocessing.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from plasticity.commands import command
from plasticity.registry import lookup

ROTATIONS = 4  # by 90 degrees each


class DataError(ValueError):
    """Images, archives or features are missing or wrong; the message says which and what to do."""


class Archive(NamedTuple):
    """An archive as its publisher offers it."""

    name: str
    url: str
    sha256: str


class Split(NamedTuple):
    """The classes of a split."""

    classes: Sequence[str]
    rotations: bool = False  # whether each rotation by 90 degrees is a class of its own


# (archive) -> class name, name within the archive, uint8 pixels [H, W, channels] of every image.
ReadArchive = Callable[[pathlib.Path], Iterator[tuple[str, str, np.ndarray]]]


class Dataset(NamedTuple):
    """The description of a data set: everything that is fixed before its archives are read."""

    name: str
    archives: tuple[Archive, ...]
    classes: int
    per_class: int
    source_shape: tuple[int, int, int]  # H, W, channels in the archives
    shape: tuple[int, int, int]  # H, W, channels as prepared
    read: ReadArchive
    mean: tuple[float, ...]  # per channel, of pixels between 0 and 1; networks receive
    deviation: tuple[float, ...]  # (pixel - mean) / deviation
    preprocessing: str  # changes whenever the arrays would
    schemes: Mapping[str, Any]  # {name: (class names) -> {"train" | "validation" | "test": Split}}
    # {name: (class names) -> the classes of each task of a stream}
    groups: Mapping[str, Callable[[Sequence[str]], list[list[str]]]] = MappingProxyType({})


class Images(NamedTuple):
    """A prepared data set."""

    images: np.ndarray  # uint8 [classes, images per class, H, W, channels], memory-mapped
    classes: list[str]
    checksum: str  # of archives and preprocessing


def data_directory() -> pathlib.Path:
    """Returns PLASTICITY_DATA_DIR, by default a folder in the user's cache directory."""
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    default = pathlib.Path(user) / "plasticity" / "data"
    return pathlib.Path(os.environ.get("PLASTICITY_DATA_DIR") or default).expanduser()


def key(dataset: Dataset, checksums: Sequence[str]) -> str:
    """Returns the name of the folder of arrays from archives with these sha256 sums."""
    text = "\n".join([*checksums, dataset.preprocessing])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def official_folder(dataset: Dataset) -> pathlib.Path:
    """Returns the folder of the arrays from the published archives."""
    official = key(dataset, [archive.sha256 for archive in dataset.archives])
    return data_directory() / dataset.name / official


def load(dataset: Dataset) -> Images:
    """Loads the arrays from the published archives if they are prepared, else from others.

    Raises:
      DataError: none are prepared, they are damaged, or there are several from other archives.
    """
    folder = official_folder(dataset)
    if not folder.is_dir():
        found = [path.parent for path in sorted(folder.parent.glob("*/manifest.json"))]
        current = [f for f in found if _manifest(dataset, f)[1] == dataset.preprocessing]
        if not current:
            raise DataError(
                f"the data set {dataset.name!r} is not prepared in {data_directory()} "
                f"(PLASTICITY_DATA_DIR). To download and prepare it: {_command(dataset)}"
                "  (add --archives=DIR if you have the archives)"
            )
        if len(current) > 1:
            raise DataError(
                f"{folder.parent} holds arrays from {len(current)} different sets of archives, "
                f"none of them the published ones: {', '.join(f.name for f in current)}. Keep one"
            )
        folder = current[0]
    return read(dataset, folder)


def read(dataset: Dataset, folder: pathlib.Path) -> Images:
    """Reads the arrays in one folder.

    Raises:
      DataError: they are damaged; the message names the folder to remove.
    """
    classes, _ = _manifest(dataset, folder)
    try:
        images = np.lib.format.open_memmap(folder / "images.npy", mode="r")
        expected = (len(classes), dataset.per_class, *dataset.shape)
        if images.shape != expected or images.dtype != np.uint8:
            raise ValueError(f"it holds {images.dtype} {images.shape}, not uint8 {expected}")
    except Exception as error:  # numpy raises many kinds for damaged headers
        raise _damaged(dataset, folder / "images.npy", error) from error
    return Images(images, classes, folder.name)


def splits(dataset: Dataset, scheme: str, classes: Sequence[str]) -> dict[str, Split]:
    """Returns the splits of a scheme, for classes with these names.

    Raises:
      ValueError: the data set has no such scheme.
    """
    return lookup(dataset.schemes, scheme, "task.split")(classes)


def check_classes(dataset: Dataset, classes: Sequence[str]) -> None:
    """Raises ValueError if a scheme has other classes than these, or one in two of its splits."""
    for scheme in dataset.schemes:
        parts = splits(dataset, scheme, classes).values()
        listed = [name for split in parts for name in split.classes]
        if set(listed) != set(classes):
            raise ValueError(f"the classes are not those of {dataset.name}")
        if len(listed) > len(classes) and scheme != "same_classes":
            raise ValueError(f"a class is in two splits of {scheme!r}")


def _manifest(dataset: Dataset, folder: pathlib.Path) -> tuple[list[str], str]:
    """Class names, and the preprocessing, as the manifest in a folder of arrays states them."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
        check_classes(dataset, manifest["classes"])
        return manifest["classes"], manifest["preprocessing"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(dataset, path, error) from error


def _damaged(dataset: Dataset, path: pathlib.Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is damaged ({type(error).__name__}: {error}). Remove the folder {path.parent}, "
        f"then prepare the data set again: {_command(dataset)}"
    )


def _command(dataset: Dataset) -> str:
    return command("prepare_data", f"--dataset={dataset.name}")
