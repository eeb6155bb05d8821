"""Prepared images: where they lie, and how they are read.

PLASTICITY_DATA_DIR (default: the user's cache directory) holds one folder per data set and state of
its archives, written whole or not at all:

  NAME/KEY/images.npy      uint8 [classes, per class, H, W, channels]
  NAME/KEY/manifest.json   checksums of the archives, whether they are the official ones, classes

KEY is a hash of the archives' checksums and of the preprocessing.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from plasticity.registry import lookup

ROTATIONS = 4  # by 90 degrees each


class DataError(ValueError):
    """Data are missing or not what they should be; the message says which and what to do."""


class Archive(NamedTuple):
    """A file that its publisher offers."""

    name: str
    url: str
    sha256: str


class Split(NamedTuple):
    """The classes that a split draws from."""

    classes: Sequence[str]
    rotations: bool = False  # whether each rotation by 90 degrees is a class of its own


class Dataset(NamedTuple):
    """What a data set is: everything that can be known before it is there."""

    name: str
    archives: tuple[Archive, ...]
    class_names: tuple[str, ...] | None  # None: as the archives say
    classes: int
    per_class: int
    shape: tuple[int, int, int]  # H, W, channels
    mean: tuple[float, ...]  # of pixels between 0 and 1, by channel; what networks see is
    deviation: tuple[float, ...]  # (pixel - mean) / deviation
    preprocessing: str  # changes whenever the arrays would
    schemes: Mapping[str, Any]  # {name: (class names) -> {"train" | "validation" | "test": Split}}


class Images(NamedTuple):
    """A prepared data set."""

    images: np.ndarray  # uint8 [classes, per class, H, W, channels], mapped, not read
    classes: list[str]
    checksum: str  # of archives and preprocessing


def data_directory() -> pathlib.Path:
    """PLASTICITY_DATA_DIR, or a folder in the user's cache."""
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    default = pathlib.Path(user) / "plasticity" / "data"
    return pathlib.Path(os.environ.get("PLASTICITY_DATA_DIR") or default).expanduser()


def key(dataset: Dataset, checksums: Sequence[str]) -> str:
    """Names the arrays that archives with these sha256 sums lead to."""
    text = "\n".join([*checksums, dataset.preprocessing])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def official_key(dataset: Dataset) -> str:
    """The key of the official archives."""
    return key(dataset, [archive.sha256 for archive in dataset.archives])


def prepared(dataset: Dataset) -> pathlib.Path | None:
    """The folder of the arrays: of the official archives if they are there, else of others."""
    folder = data_directory() / dataset.name
    official = folder / official_key(dataset)
    found = [path.parent for path in sorted(folder.glob("*/manifest.json"))]
    current = [f for f in found if _preprocessing(f) == dataset.preprocessing]
    if official in current:
        return official
    if len(current) > 1:
        raise DataError(
            f"{folder} holds arrays from {len(current)} different sets of archives that are not "
            f"the official ones: {', '.join(f.name for f in current)}. Keep one."
        )
    return current[0] if current else None


def load(dataset: Dataset) -> Images:
    """The prepared arrays.

    Raises:
      DataError: they are not there; the message holds the command that prepares them.
    """
    folder = prepared(dataset)
    if folder is None:
        raise DataError(
            f"the data set {dataset.name!r} is not prepared in {data_directory()} "
            "(PLASTICITY_DATA_DIR). To download and prepare it: "
            f"python -m experiments.prepare_data --dataset={dataset.name}"
            "  (add --archives=DIR if you have the archives)"
        )
    manifest = json.loads((folder / "manifest.json").read_text())
    images = np.load(folder / "images.npy", mmap_mode="r")
    return Images(images, manifest["classes"], folder.name)


def splits(dataset: Dataset, scheme: str, classes: Sequence[str]) -> dict[str, Split]:
    """The splits of a scheme, for classes with these names."""
    return lookup(dataset.schemes, scheme, "task.split")(classes)


def _preprocessing(folder: pathlib.Path) -> str:
    return json.loads((folder / "manifest.json").read_text())["preprocessing"]
