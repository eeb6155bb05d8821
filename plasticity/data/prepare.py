"""From archives to prepared arrays, once: verify, build the TFDS data set, decode, store."""

import collections
import http.client
import json
import os
import pathlib
import shutil
import tempfile
import urllib.request
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from plasticity.data import archives, store
from plasticity.data.builders import BUILDERS
from plasticity.data.store import Archive, DataError, Dataset

TIMEOUT = 30  # seconds without an answer


def prepare(
    dataset: Dataset, directory: pathlib.Path | None, accept_other: bool
) -> tuple[pathlib.Path, bool]:
    """Prepares a data set.

    Args:
      dataset: an entry of `plasticity.data.DATASETS`.
      directory: folder of the archives; None: they are downloaded.
      accept_other: take archives whose checksums are not the published ones, and record it.

    Returns:
      The folder of the arrays, and whether it was there already.

    Raises:
      DataError: an archive is missing or is not what it should be. Nothing is left behind.
    """
    root = store.data_directory()
    downloaded = directory is None
    if directory is None:
        if (there := root / dataset.name / store.official_key(dataset)).is_dir():
            return there, True
        directory = _download(dataset, root)
    paths = [archives.find(directory, archive) for archive in dataset.archives]
    checksums = [
        _verified(path, archive, accept_other, downloaded)
        for path, archive in zip(paths, dataset.archives, strict=True)
    ]
    target = root / dataset.name / store.key(dataset, checksums)
    if target.is_dir():
        return target, True
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".tmp-") as work:
        classes = _decode(dataset, directory, pathlib.Path(work))
        _check_classes(dataset, classes)
        manifest = {
            "dataset": dataset.name,
            "preprocessing": dataset.preprocessing,
            "archives": {p.name: c for p, c in zip(paths, checksums, strict=True)},
            "official": checksums == [archive.sha256 for archive in dataset.archives],
            "classes": classes,
        }
        (pathlib.Path(work) / "ready" / "manifest.json").write_text(json.dumps(manifest, indent=1))
        target.parent.mkdir(exist_ok=True)
        os.rename(pathlib.Path(work) / "ready", target)
    return target, False


def counts(dataset: Dataset) -> dict[str, dict[str, tuple[int, int]]]:
    """{scheme: {split: (classes, images)}} of a prepared data set, rotations counted."""
    images = store.load(dataset)
    told = {}
    for scheme in dataset.schemes:
        parts = store.splits(dataset, scheme, images.classes)
        times = {name: store.ROTATIONS if split.rotations else 1 for name, split in parts.items()}
        told[scheme] = {
            name: (times[name] * len(s.classes), times[name] * len(s.classes) * dataset.per_class)
            for name, s in parts.items()
        }
    return told


def _download(dataset: Dataset, root: pathlib.Path) -> pathlib.Path:
    """Downloads the archives that are not there yet; each is whole or not there."""
    folder = root / "downloads" / dataset.name
    folder.mkdir(parents=True, exist_ok=True)
    for archive in dataset.archives:
        if (folder / archive.name).is_file():
            continue
        partial = folder / f".tmp-{archive.name}"
        try:
            _fetch(archive.url, partial)
        except (OSError, http.client.HTTPException) as error:
            partial.unlink(missing_ok=True)
            raise DataError(
                f"cannot download {archive.url}: {error}. Where there is no network, fetch the "
                "archives elsewhere and say --archives=DIR"
            ) from error
        partial.rename(folder / archive.name)
    return folder


def _fetch(url: str, path: pathlib.Path) -> None:
    """Downloads a file. A connection that ends too early is an error, unlike in `urllib`."""
    with urllib.request.urlopen(url, timeout=TIMEOUT) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)
        promised, received = int(source.headers.get("Content-Length", 0)), file.tell()
    if received < promised:
        raise OSError(f"the connection ended after {received} of {promised} bytes")


def _verified(path: pathlib.Path, archive: Archive, accept_other: bool, downloaded: bool) -> str:
    """The checksum of an archive. One that we downloaded is removed if it is not the right one."""
    try:
        return archives.verify(path, archive, accept_other)
    except DataError as error:
        if not downloaded:
            raise
        path.unlink()
        raise DataError(f"{error}. It is removed: the next call downloads it again") from error


def _decode(dataset: Dataset, directory: pathlib.Path, work: pathlib.Path) -> list[str]:
    """Builds the TFDS data set in `work`, and from it `work`/ready/images.npy; class names."""
    builder = BUILDERS[dataset.name](data_dir=str(work / "tfds"), file_format="array_record")
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=str(directory))
    builder.download_and_prepare(download_config=config)
    source = builder.as_data_source(split="images")
    expected = dataset.classes * dataset.per_class
    if len(source) != expected:
        raise DataError(f"{dataset.name}: {len(source)} images were built, not {expected}")
    by_class: dict[str, list[tuple[str, np.ndarray]]] = collections.defaultdict(list)
    for example in source:
        image = _resized(example["image"], dataset.shape)
        by_class[example["class_name"].decode()].append((example["source"].decode(), image))
    classes = sorted(by_class)
    (work / "ready").mkdir()
    # TFDS shuffles; the order of the archive is restored.
    ordered = [[image for _, image in sorted(by_class[c], key=_first)] for c in classes]
    uneven = [
        c for c, images in zip(classes, ordered, strict=True) if len(images) != dataset.per_class
    ]
    if uneven:
        raise DataError(f"{dataset.name}: {uneven[0]} does not have {dataset.per_class} images")
    np.save(work / "ready" / "images.npy", np.asarray(ordered, np.uint8))
    return classes


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


def _resized(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    if image.shape == shape:
        return image
    small = Image.fromarray(image[:, :, 0]).resize(shape[:2], Image.Resampling.BOX)
    return np.asarray(small)[:, :, None]


def _check_classes(dataset: Dataset, classes: list[str]) -> None:
    """Counts and names of classes, and that no class is in two splits unless all are."""
    if len(classes) != dataset.classes:
        raise DataError(f"{dataset.name}: {len(classes)} classes, not {dataset.classes}")
    if dataset.class_names is not None and classes != list(dataset.class_names):
        raise DataError(f"{dataset.name}: the classes are not those of the official data set")
    for scheme in dataset.schemes:
        parts = [set(split.classes) for split in store.splits(dataset, scheme, classes).values()]
        unknown = set[str]().union(*parts) - set(classes)
        if unknown:
            raise DataError(f"{dataset.name}, {scheme}: no class {sorted(unknown)[0]!r}")
        first, second, third = parts
        shared = first & second | first & third | second & third
        if shared and scheme != "same_classes":
            raise DataError(f"{dataset.name}, {scheme}: {sorted(shared)[0]!r} is in two splits")
