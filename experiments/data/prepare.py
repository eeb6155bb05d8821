"""From archives to prepared arrays: download, verify, build the TFDS data set, decode, store."""

import collections
import contextlib
import io
import json
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import pooch
import tensorflow_datasets as tfds
from PIL import Image

from plasticity.data import archives, store
from plasticity.data.store import DataError, Dataset
from plasticity.experiments.data.builders import ImageArchives

TIMEOUT = 30  # seconds that a server may take to answer
RETRIES = 2  # further attempts after a download that failed


def prepare(
    dataset: Dataset, directory: pathlib.Path | None, accept_other: bool
) -> tuple[pathlib.Path, bool]:
    """Prepares a data set.

    Args:
      dataset: an entry of `plasticity.data.DATASETS`.
      directory: folder of the archives; None: they are downloaded.
      accept_other: accept archives whose checksums are not the published ones, and record it.

    Returns:
      The folder of the arrays, and whether it existed before.

    Raises:
      DataError: an archive is missing or wrong, or the data directory cannot be written. Of the
        arrays nothing is left behind then; archives that were downloaded stay.
    """
    root = store.data_directory()
    if directory is None:
        if (official := store.official_folder(dataset)).is_dir():
            store.read(dataset, official)
            return official, True
        with _workspace(root):  # first of all, is there a place to write to?
            directory = _download(dataset, root, accept_other)
    paths = [archives.find(directory, archive) for archive in dataset.archives]
    checksums = [
        archives.verify(path, archive, accept_other)
        for path, archive in zip(paths, dataset.archives, strict=True)
    ]
    target = root / dataset.name / store.key(dataset, checksums)
    if target.is_dir():
        store.read(dataset, target)
        return target, True
    with _workspace(root) as work:
        classes = _decode(dataset, directory, work)
        manifest = {
            "dataset": dataset.name,
            "preprocessing": dataset.preprocessing,
            "archives": {p.name: c for p, c in zip(paths, checksums, strict=True)},
            "official": checksums == [archive.sha256 for archive in dataset.archives],
            "classes": classes,
        }
        (work / "ready" / "manifest.json").write_text(json.dumps(manifest, indent=1))
        target.parent.mkdir(exist_ok=True)
        try:
            (work / "ready").rename(target)
        except OSError:
            if not target.is_dir():  # else another process has prepared the same data meanwhile
                raise
    return target, False


def counts(dataset: Dataset) -> dict[str, dict[str, tuple[int, int]]]:
    """Returns {scheme: {split: (classes, images)}} of a prepared data set, rotations counted."""
    names = store.load(dataset).classes

    def count(split: store.Split) -> tuple[int, int]:
        classes = len(split.classes) * (store.ROTATIONS if split.rotations else 1)
        return classes, classes * dataset.per_class

    return {
        scheme: {part: count(s) for part, s in store.splits(dataset, scheme, names).items()}
        for scheme in dataset.schemes
    }


@contextlib.contextmanager
def _workspace(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary folder in the data directory, on the same disk as what it is to become."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".tmp-") as work:
            yield pathlib.Path(work)
    except (OSError, RuntimeError) as error:  # TFDS's writer raises a RuntimeError
        raise DataError(
            f"PLASTICITY_DATA_DIR={root} cannot be written: {error}. Set this variable to a folder "
            "with free space, in which you may write"
        ) from error


def _download(dataset: Dataset, root: pathlib.Path, accept_other: bool) -> pathlib.Path:
    """Downloads the archives that are missing or not the published ones; returns their folder."""
    folder = root / "downloads" / dataset.name
    downloader = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        timeout=TIMEOUT,
        headers={"Accept-Encoding": "identity"},  # else a .gz could arrive decompressed
    )
    client = pooch.create(
        path=folder,
        base_url="",
        registry={a.name: None if accept_other else f"sha256:{a.sha256}" for a in dataset.archives},
        urls={a.name: a.url for a in dataset.archives},
        retry_if_failed=RETRIES,
    )
    for archive in dataset.archives:
        try:
            client.fetch(archive.name, downloader=downloader)
        except (OSError, ValueError) as error:  # of requests, and of a checksum that is wrong
            raise DataError(
                f"cannot download {archive.url}: {error}. If this machine has no network, download "
                "the archives elsewhere and add --archives=DIR"
            ) from error
    return folder


def _decode(dataset: Dataset, directory: pathlib.Path, work: pathlib.Path) -> list[str]:
    """Builds the TFDS data set and, from it, `work`/ready/images.npy; returns the class names."""
    builder = ImageArchives(dataset, data_dir=str(work / "tfds"), file_format="array_record")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=str(directory))
    with contextlib.redirect_stdout(io.StringIO()):  # its messages name temporary folders
        builder.download_and_prepare(download_config=config)
    by_class: dict[str, list[tuple[str, np.ndarray]]] = collections.defaultdict(list)
    for example in builder.as_data_source(split="images"):
        image = _resized(example["image"], dataset.shape)
        by_class[example["class_name"].decode()].append((example["source"].decode(), image))
    classes = sorted(by_class)
    # TFDS shuffles; sources, which are unique, restore the order of the archive.
    ordered = [
        [image for _, image in sorted(by_class[name], key=lambda pair: pair[0])] for name in classes
    ]
    sizes = [len(images) for images in ordered]
    if sizes != [dataset.per_class] * dataset.classes:
        raise DataError(
            f"{dataset.name}: TFDS built {sum(sizes)} images of {len(sizes)} classes, not "
            f"{dataset.per_class} of each of {dataset.classes}"
        )
    store.check_classes(dataset, classes)
    (work / "ready").mkdir()
    np.save(work / "ready" / "images.npy", np.asarray(ordered, np.uint8))
    return classes


def _resized(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    if image.shape == shape:
        return image
    small = Image.fromarray(image[:, :, 0]).resize(shape[:2], Image.Resampling.BOX)
    return np.asarray(small)[:, :, None]
