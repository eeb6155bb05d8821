"""Image transformations on the device: augmentation, which keeps the class, and scaling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.data import Dataset
from plasticity.data.store import ROTATIONS
from plasticity.types import Array, Key


class Augmentation(NamedTuple):
    """Strength of the augmentation; the defaults change nothing."""

    flip: bool = False  # left to right, with probability 1/2
    crop: int = 0  # largest shift in pixels; the margin is filled with 0
    jitter: float = 0.0  # brightness, contrast and colour by factors within 1 +- jitter


def augment(key: Key, image: Array, how: Augmentation) -> Array:
    """Returns an augmented image [H, W, channels] of pixels between 0 and 1."""
    flip_key, crop_key, *jitter_keys = jax.random.split(key, 5)
    if how.flip:
        image = jnp.where(jax.random.bernoulli(flip_key), image[:, ::-1], image)
    if how.crop:
        margin = (how.crop, how.crop)
        padded = jnp.pad(image, (margin, margin, (0, 0)))
        corner = jax.random.randint(crop_key, (2,), 0, 2 * how.crop + 1)
        image = jax.lax.dynamic_slice(padded, (corner[0], corner[1], 0), image.shape)
    if how.jitter:
        brightness, contrast, colour = (
            jax.random.uniform(k, (), minval=1 - how.jitter, maxval=1 + how.jitter)
            for k in jitter_keys
        )
        image = image * brightness
        image = image.mean() + contrast * (image - image.mean())
        grey = image.mean(-1, keepdims=True)
        image = jnp.clip(grey + colour * (image - grey), 0, 1)
    return image


def standardise(image: Array, described: Dataset) -> Array:
    """Standardises pixels [..., channels] between 0 and 1 by the data set's mean and deviation."""
    return (image - jnp.asarray(described.mean)) / jnp.asarray(described.deviation)


def rotate(image: Array, quarters: Array) -> Array:
    """Rotates an image [H, W, channels], H = W, by `quarters` [] times 90 degrees."""
    turned = jnp.stack([jnp.rot90(image, k) for k in range(ROTATIONS)])
    return turned[quarters]
