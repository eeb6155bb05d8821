"""The examples that few-shot episodes are drawn from: classes of a split, as images or features."""

import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.commands import command
from plasticity.data import DataError, Dataset, load
from plasticity.data.store import ROTATIONS, Split, splits
from plasticity.registry import exportable
from plasticity.types import Array, Key

FIFTH = 5  # of the examples of a class are for the test of a stream: one in so many


class Pool(NamedTuple):
    """The examples of a split."""

    # Images, uint8 [classes, per class, H W channels], or features [classes, 4 or 1, per class, F].
    # To gather from an array whose last axes are small, a TPU copies the whole array first.
    examples: Array
    classes: Array  # [P] int32, class * 4 + rotation, repeated beyond `size`; a stream: [tasks, P]
    size: Array  # [] int32; a stream: [tasks]
    training: Array | None  # only in the split whose images are augmented


exportable(Pool)


def pools(described: Dataset, split: str, features: str) -> tuple[dict[str, Pool], str]:
    """Returns the pool of each split, and the checksum of the images.

    Args:
      described: the data set, which has to be prepared.
      split: one of its schemes.
      features: file of `experiments.encode`; empty: images.

    Raises:
      DataError: the images are not prepared, or the features cannot be used with them.
    """
    images = load(described)
    parts = splits(described, split, images.classes)
    chosen = {part: _numbers(one, images.classes) for part, one in parts.items()}
    examples: Any = images.images.reshape(*images.images.shape[:2], -1)
    if features:
        encoded = features_of(features, described, images.checksum)
        turns = ROTATIONS if any(one.rotations for one in parts.values()) else encoded.shape[1]
        expected = (len(images.classes), turns, images.images.shape[1])
        if encoded.shape[:3] != expected:
            raise DataError(
                f"task.features={features!r}: the array 'features' has {encoded.shape[:3]} "
                f"(classes, rotations, images per class), but {described.name} with "
                f"task.split={split!r} needs {expected}. Rotations are encoded if the task.split "
                "of the encoder itself has them"
            )
        examples = centred(encoded, chosen["train"]).astype(np.float32)
    most = max(map(len, chosen.values()))  # of one length, so that splits share their programs
    made = {
        part: Pool(
            examples,
            jnp.asarray(np.resize(classes, most)),
            jnp.asarray(len(classes), jnp.int32),
            jnp.ones(()) if part == "train" else None,
        )
        for part, classes in chosen.items()
    }
    return made, images.checksum


def grouped(made: Mapping[str, Pool], groups: Sequence[Sequence[int]]) -> dict[str, Pool]:
    """The pools of a stream: every split has all classes, and examples of its own.

    The first fifth of the examples of a class is for the test, the next for validation.

    Args:
      made: pools whose examples are shared by the splits. groups: the classes of each task.
    """
    sizes = [len(group) for group in groups]
    rows = [np.resize(np.array(group) * ROTATIONS, max(sizes)) for group in groups]
    classes, size = jnp.asarray(np.stack(rows)), jnp.asarray(sizes, jnp.int32)
    fifth = made["train"].examples.shape[-2] // FIFTH
    parts = {"test": (0, fifth), "validation": (fifth, 2 * fifth), "train": (2 * fifth, None)}
    return {
        part: pool._replace(
            examples=pool.examples[..., slice(*parts[part]), :], classes=classes, size=size
        )
        for part, pool in made.items()
    }


def draw(key: Key, pool: Pool, ways: int, examples: int) -> tuple[Array, Array]:
    """Draws N = `ways` different classes [N], and K different examples of each [N, K]."""
    class_key, example_key = jax.random.split(key)
    places = jnp.arange(len(pool.classes))
    noise = jnp.where(places < pool.size, jax.random.uniform(class_key, places.shape), -1.0)
    classes = pool.classes[jax.lax.top_k(noise, ways)[1]]
    noise = jax.random.uniform(example_key, (ways, pool.examples.shape[-2]))
    return classes, jax.lax.top_k(noise, examples)[1]


def pixels(described: Dataset, pool: Pool, kind: Array, number: Array | int) -> Array:
    """Images [S, H, W, channels] of S classes, of pixels between 0 and 1."""
    rows = pool.examples[kind, number].astype(jnp.float32) / 255
    return rows.reshape(-1, *described.shape)


def check_ways(ways: int, made: Mapping[str, Pool], described: Dataset) -> None:
    """Raises ValueError if a split, or a task of a stream, has fewer than `ways` classes."""
    for part, pool in made.items():
        least = int(pool.size.min())
        if ways > least:
            where = "a task of the stream" if pool.size.ndim else f"its {part} split"
            raise ValueError(
                f"task.ways={ways} is more than the {least} classes that {described.name} has in "
                f"{where}"
            )


def _numbers(split: Split, names: list[str]) -> np.ndarray:
    """Class * 4 + rotation of the classes of a split, [P]."""
    number = {name: i for i, name in enumerate(names)}
    turns = range(ROTATIONS if split.rotations else 1)
    return np.array([number[n] * ROTATIONS + turn for n in split.classes for turn in turns])


def centred(features: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Centres and scales features by the training classes: mean 0 and mean square 1 there.

    One factor scales all directions, so ratios of distances are unchanged. Without centring, the
    mean over all images would be most of what a rule writes.

    Args:
      features: [classes, rotations, per class, F], float32 or float64.
      classes: [P], class * 4 + rotation of the training classes.

    Raises:
      DataError: the features of all training images are the same.
    """
    # In float64: squares of float32 overflow from 1.8e19 on, and a large mean takes their digits.
    training = features[classes // ROTATIONS, classes % ROTATIONS].astype(np.float64)
    if not np.ptp(training, axis=(0, 1)).any():
        raise DataError("task.features are the same for all images of the training classes")
    mean = training.mean((0, 1))
    scale = np.sqrt(np.square(training - mean).mean())
    return ((features - mean) / scale).astype(features.dtype)


def features_of(path: str, described: Dataset, checksum: str) -> np.ndarray:
    """Reads features [classes, 4 or 1 rotations, per class, F] that `experiments.encode` wrote.

    Returns:
      float64 if the file holds float64, else float32.

    Raises:
      DataError: the file is no such file, belongs to other images, or holds other than finite
        numbers.
    """
    found = _arrays(path)
    source = (str(found["dataset"]), str(found["checksum"]))
    if source != (described.name, checksum):
        raise DataError(
            f"task.features={path!r} was made from {' '.join(source)}, but the prepared images are "
            f"{described.name} {checksum}"
        )
    raw = found["features"]
    if raw.ndim != 4 or raw.shape[1] not in (1, ROTATIONS) or raw.size == 0:
        raise DataError(
            f"task.features={path!r}: the array 'features' has the shape {raw.shape}, not "
            f"[classes, {ROTATIONS} or 1 rotations, images per class, F]"
        )
    if raw.dtype.kind not in "fiub":
        raise DataError(
            f"task.features={path!r}: the array 'features' is of type {raw.dtype}, not float32"
        )
    features = raw.astype(np.float64 if raw.dtype.itemsize >= 8 else np.float32)
    with np.errstate(over="ignore"):
        wrong = np.argwhere(~np.isfinite(features.astype(np.float32)))
    if len(wrong):
        raise DataError(
            f"task.features={path!r}: the array 'features' is {features[tuple(wrong[0])]} at "
            f"{wrong[0].tolist()}; {len(wrong)} of its {features.size} numbers are not finite in "
            "float32"
        )
    return features


def _arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of a file of features."""
    try:
        # Opened here, since numpy leaves a truncated file open.
        with pathlib.Path(path).expanduser().open("rb") as opened:
            if not zipfile.is_zipfile(opened):
                raise ValueError("it is no .npz file, or is truncated")
            opened.seek(0)
            with np.load(opened) as file:
                missing = {"features", "dataset", "checksum"} - set(file.files)
                if missing:
                    raise ValueError(f"it holds no array {min(missing)!r}")
                return {n: np.asarray(file[n]) for n in ("features", "dataset", "checksum")}
    except Exception as error:  # numpy and zipfile raise a dozen kinds for damaged files
        raise DataError(
            f"task.features={path!r} is not a file of features ({error}). To make one: "
            f"{command('encode', '--workdir=ENCODER')}"
        ) from error
