"""Plain classification of images: labels are fixed, and slow weights learn them.

An episode is T images, each a step: inputs are images [T, H, W, channels] beside an empty vector
[T, 0], targets are int32 labels [T]. A label is drawn at random, then a class and an image of it. A
label is a class of the data set, or a group of classes (alphabets of Omniglot, superclasses of
CIFAR-100). A fifth of the images of each class is for the test, and one for validation.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from plasticity.data import DATASETS, Dataset, load
from plasticity.data.store import ROTATIONS
from plasticity.factory import Factory
from plasticity.registry import lookup
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Observation, Task
from plasticity.tasks.answers import correct
from plasticity.tasks.augment import Augmentation, augment, standardise
from plasticity.tasks.pools import Pool, grouped, pixels, pools
from plasticity.types import Array, Key


@dataclasses.dataclass(frozen=True)
class ClassifySettings(Settings):
    """Settings of the task."""

    section = "task"
    dataset: str = setting("omniglot", "prepared images", choices=DATASETS)
    by: str = setting("", "group of classes that is a label (alphabets; superclasses); empty: one")
    labels: int = size(10, "N, labels: the first classes, or groups", low=2)
    images: int = size(64, "T, images in an episode")
    flip: bool = setting(False, "augmentation of training images: left to right")
    crop: int = size(0, "augmentation: largest shift, in pixels", low=0)
    jitter: float = setting(0.0, "augmentation: brightness, contrast, colour", low=0, below=1)

    def check(self) -> None:
        """Raises ValueError for a group or a shift that there is not."""
        if self.by:
            lookup(self.described.groups, self.by, "task.by")
        side = min(self.described.shape[:2])
        if self.crop >= side:
            raise ValueError(f"task.crop={self.crop} must be less than {side}, the image's side")

    @property
    def described(self) -> Dataset:
        """The data set."""
        return DATASETS[self.dataset]


def groups_of(s: ClassifySettings) -> list[list[int]]:
    """The classes of each label, by their numbers in the prepared data.

    Raises:
      ValueError: there are fewer labels.
    """
    names = load(s.described).classes
    groups = s.described.groups[s.by](names) if s.by else [[name] for name in sorted(names)]
    if s.labels > len(groups):
        kind = s.by or "classes"
        raise ValueError(
            f"task.labels={s.labels} must be at most {len(groups)}, the {kind} of {s.dataset}"
        )
    number = {name: i for i, name in enumerate(names)}
    return [[number[name] for name in group] for group in groups[: s.labels]]


def _classify(s: ClassifySettings) -> Task:
    # Every scheme has the same images, and `grouped` divides them anew.
    made, checksum = pools(s.described, next(iter(s.described.schemes)), "")
    data = grouped(made, groups_of(s))
    change = Augmentation(s.flip, s.crop, s.jitter)

    def sample(key: Key, data: Pool) -> Episode:
        *keys, change_key = jax.random.split(key, 4)
        shape, labels = (s.images,), len(data.size)
        label = jax.random.randint(keys[0], shape, 0, labels)
        place = jax.random.randint(keys[1], shape, 0, data.size[label])
        number = jax.random.randint(keys[2], shape, 0, data.examples.shape[-2])
        images = pixels(s.described, data, data.classes[label, place] // ROTATIONS, number)
        if data.training is not None:
            augmented = functools.partial(augment, how=change)
            images = jax.vmap(augmented)(jax.random.split(change_key, s.images), images)
        inputs = Observation(standardise(images, s.described), jnp.zeros((s.images, 0)))
        return Episode(inputs, label, jnp.ones(shape))

    def loss(answers: Array, episode: Episode) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(answers, episode.targets)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        return {"accuracy": correct(answers, episode.targets).astype(answers.dtype).mean()}

    return Task(
        inputs=0,
        outputs=s.labels,
        steps=s.images,
        main_metric="accuracy",
        chance=1 / s.labels,
        sample=sample,
        loss=loss,
        metrics=metrics,
        image=s.described.shape,
        data=data,
        checksum=checksum,
        phases=(("image", s.images),),
    )


classify = Factory(ClassifySettings, _classify)
