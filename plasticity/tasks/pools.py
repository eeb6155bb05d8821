"""What few-shot episodes are drawn from: the classes of a split, as images or as features."""

import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.data import DataError, Dataset, load
from plasticity.data.store import ROTATIONS, Split, splits
from plasticity.types import Array, Key

# What numpy raises for other files, arrays without a name, damaged, cut off and empty ones.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


class Pool(NamedTuple):
    """What a split draws from."""

    # uint8 [classes, per class, H, W, channels], or features [classes, 4 or 1, per class, F]
    examples: Array
    classes: Array  # [P] int32, class * 4 + rotation; filled up beyond `size`
    size: Array  # [] int32
    training: Array | None  # there in the split that is augmented


def pools(described: Dataset, split: str, features: str) -> tuple[dict[str, Pool], str]:
    """What each split draws from, and the checksum of the images.

    Args:
      described: the data set, which has to be prepared.
      split: one of its schemes.
      features: file of `experiments.encode`; empty: images.

    Raises:
      DataError: the images are not there, or the features are not theirs or lack rotations.
    """
    images = load(described)
    parts = splits(described, split, images.classes)
    chosen = {part: _numbers(one, images.classes) for part, one in parts.items()}
    examples: Any = images.images
    if features:
        encoded = features_of(features, described, images.checksum)
        if encoded.shape[1] < ROTATIONS and any(one.rotations for one in parts.values()):
            raise DataError(
                f"task.features={features!r} holds {encoded.shape[1]} of {ROTATIONS} rotations, "
                f"but in task.split={split!r} each is a class of its own: encode the images with "
                "an encoder whose own task.split has rotations"
            )
        examples = centred(encoded, chosen["train"])
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


def draw(key: Key, pool: Pool, ways: int, examples: int) -> tuple[Array, Array]:
    """Different classes [N], and different examples of each [N, K]."""
    class_key, example_key = jax.random.split(key)
    places = jnp.arange(len(pool.classes))
    noise = jnp.where(places < pool.size, jax.random.uniform(class_key, places.shape), -1.0)
    classes = pool.classes[jax.lax.top_k(noise, ways)[1]]
    per_class = pool.examples.shape[2 if pool.examples.ndim == 4 else 1]
    noise = jax.random.uniform(example_key, (ways, per_class))
    return classes, jax.lax.top_k(noise, examples)[1]


def check_ways(ways: int, made: Mapping[str, Pool], described: Dataset) -> None:
    """Raises ValueError if a split has fewer classes than an episode needs."""
    for part, pool in made.items():
        if ways > int(pool.size):
            raise ValueError(
                f"task.ways={ways} is more than the {int(pool.size)} classes that "
                f"{described.name} has in its {part} split"
            )


def _numbers(split: Split, names: list[str]) -> np.ndarray:
    """Class * 4 + rotation of the classes of a split, [P]."""
    number = {name: i for i, name in enumerate(names)}
    turns = range(ROTATIONS if split.rotations else 1)
    return np.array([number[n] * ROTATIONS + turn for n in split.classes for turn in turns])


def centred(features: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Features whose mean is 0 and whose mean square is 1 in the training classes.

    One factor for all directions: ratios of distances stay as they are. What all images have in
    common would otherwise be most of what a rule writes.
    """
    known = features[classes // ROTATIONS, classes % ROTATIONS]
    moved = features - known.mean((0, 1))
    return moved / np.sqrt(np.square(known - known.mean((0, 1))).mean())


def features_of(path: str, described: Dataset, checksum: str) -> np.ndarray:
    """Features [classes, 4 or 1 rotations, per class, F] from a file of `experiments.encode`."""
    try:
        # Opened here, since numpy leaves a file open that is cut off.
        with open(path, "rb") as opened, np.load(opened) as file:
            found = {name: file[name] for name in ("features", "dataset", "checksum")}
    except UNREADABLE as error:
        raise DataError(
            f"task.features={path!r} is not a file of features ({error}); to make one: "
            "python -m experiments.encode --workdir=ENCODER"
        ) from error
    made_from = (str(found["dataset"]), str(found["checksum"]))
    if made_from != (described.name, checksum):
        raise DataError(
            f"task.features={path!r} was made from {made_from[0]} {made_from[1]}, but the images "
            f"that are prepared are {described.name} {checksum}"
        )
    return found["features"]
