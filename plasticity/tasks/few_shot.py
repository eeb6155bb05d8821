"""Few-shot classification of images: N ways, K shots.

The support holds N * K images, each with its label; the targets are the labels of the queries.
Every episode assigns labels to classes at random.

Queries are independent, each answered after the support alone, which is the standard protocol; or
they follow in one stream (`order`, see `plasticity.tasks.orders`).

An input is an image [H, W, channels] and a vector [N + 1]: the one-hot label and 0 in the support,
zeros and 1 in a query. With a file of features of a frozen encoder it is one vector [F + N + 1].
Targets are int32. The headline metric is accuracy: chance level 1 / N, optimum 1.

A `stream` has several tasks. Either each has classes of its own, a group of the data set; or, under
`swaps`, all have the first N classes, and from each task to the next two of them exchange their
labels. In a stream every split has all classes, and test images are not trained on. Labels may be
`fixed`, those of the first N classes of a group: slow weights can learn these, as those of a plain
classifier do, and the support is needed no more. All tasks answer with the same N outputs.

Source: Vinyals et al. 2016; Chaudhary 2025, whose code shows support and queries in class order
(`shuffle=False`) in one stream, where the position alone gives the label away.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity.data import DATASETS, Dataset, load
from plasticity.data.store import ROTATIONS
from plasticity.factory import Factory
from plasticity.registry import lookup
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Observation, Task
from plasticity.tasks import orders
from plasticity.tasks.answers import correct
from plasticity.tasks.augment import Augmentation, augment, rotate, standardise
from plasticity.tasks.pools import FIFTH, Pool, check_ways, draw, grouped, pixels, pools
from plasticity.types import Array, Key

SWAPS = "swaps"  # a stream
TYPICAL = 64  # images whose embeddings centre those of all others


@dataclasses.dataclass(frozen=True)
class FewShotSettings(Settings):
    """Settings of the task."""

    section = "task"
    dataset: str = setting("omniglot", "prepared images", choices=DATASETS)
    split: str = setting("vinyals", "a scheme of the data set: which classes train, validate, test")
    ways: int = size(5, "N, classes per episode", low=2)
    shots: int = size(1, "K, support images per class")
    queries: int = size(15, "query images per class")
    order: str = setting(
        "independent", "queries independent, or in one stream, as published", choices=orders.ORDERS
    )
    shuffle: bool = setting(True, "random order; False: class order, as published, leaks labels")
    flip: bool = setting(False, "augmentation of training images: left to right")
    crop: int = size(0, "augmentation: largest shift, in pixels", low=0)
    jitter: float = setting(0.0, "augmentation: brightness, contrast, colour", low=0, below=1)
    features: str = setting("", "file of features of a frozen encoder; empty: images")
    stream: str = setting(
        "", "tasks in turn: groups of classes (alphabets; tens, superclasses) or swaps; empty: one"
    )
    tasks: int = size(1, "tasks of the stream: its first groups, or 1 + swaps of two labels")
    labels: str = setting(
        "random", "drawn in each episode; fixed: of a class", choices=("random", "fixed")
    )

    def check(self) -> None:
        """Raises ValueError for a split, crop, stream or number of images that there is not."""
        described = self.described
        lookup(described.schemes, self.split, "task.split")
        self._check_stream([*described.groups, SWAPS])
        there = described.per_class // FIFTH if self.stream else described.per_class
        if self.shots + self.queries > there:
            where = "of a class that a stream tests with" if self.stream else "per class"
            raise ValueError(
                f"task.shots={self.shots} and task.queries={self.queries} need more than the "
                f"{there} images {where} of {described.name}"
            )
        side = min(described.shape[:2])
        if self.crop >= side:
            raise ValueError(f"task.crop={self.crop} must be less than {side}, the image's side")

    def _check_stream(self, streams: list[str]) -> None:
        if self.stream:
            lookup(dict.fromkeys(streams), self.stream, "task.stream")
        if bool(self.stream) != (self.tasks > 1):
            raise ValueError(
                f"task.stream={self.stream!r} and task.tasks={self.tasks}: give both, as in "
                f"{streams[0]} and 2, or neither. Streams of {self.dataset}: {', '.join(streams)}"
            )
        needed = {"": "random", SWAPS: "fixed"}.get(self.stream, self.labels)
        if self.labels != needed:
            raise ValueError(
                f"task.labels={self.labels!r} must be {needed!r} for task.stream={self.stream!r}"
            )

    @property
    def described(self) -> Dataset:
        """The data set."""
        return DATASETS[self.dataset]

    @property
    def support(self) -> int:
        """Steps of the support."""
        return self.ways * self.shots


# (key, pool, (class, example) pairs [S, 2], vector [S, N + 1]) -> inputs [S, ...]
Show = Callable[[Key, Pool, Array, Array], Array | Observation]


def _few_shot(s: FewShotSettings) -> Task:
    data, checksum = pools(s.described, s.split, s.features)
    reference = data["train"]
    if s.stream:
        data = grouped(data, groups_of(s))
        # Of a class, the first images are for the test.
        reference = reference._replace(examples=data["train"].examples)
    check_ways(s.ways, data, s.described)
    show: Show = _show_features
    if not s.features:
        change = Augmentation(s.flip, s.crop, s.jitter)
        show = functools.partial(_show_images, s.described, change)

    labels = jnp.asarray(label_orders(s))

    def sample(key: Key, data: Pool, which: Array | int = 0) -> Episode:
        if s.stream:
            data = data._replace(classes=data.classes[which], size=data.size[which])
        return _episode(key, data, s, show, labels[which])

    def loss(answers: Array, episode: Episode) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(answers, episode.targets)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        right = correct(answers, episode.targets).astype(answers.dtype)
        return {"accuracy": right[s.support :].mean()}

    return Task(
        inputs=(data["train"].examples.shape[-1] if s.features else 0) + s.ways + 1,
        outputs=s.ways,
        steps=orders.steps(s.order, s.support, s.ways * s.queries),
        main_metric="accuracy",
        chance=1 / s.ways,
        sample=sample,
        loss=loss,
        metrics=metrics,
        image=None if s.features else s.described.shape,
        reference_images=None if s.features else _references(s.described, reference),
        data=data,
        checksum=checksum,
        phases=orders.phases(s.order, s.support, s.ways * s.queries),
        tasks=s.tasks,
    )


def groups_of(s: FewShotSettings) -> list[list[int]]:
    """The classes of each task of a stream, by their numbers in the prepared data.

    Raises:
      ValueError: there are fewer groups.
    """
    if s.stream == SWAPS:
        return [list(range(s.ways))] * s.tasks
    names = load(s.described).classes
    groups = s.described.groups[s.stream](names)
    if s.tasks > len(groups):
        raise ValueError(f"task.tasks={s.tasks} is more than the {len(groups)} {s.stream}")
    number = {name: i for i, name in enumerate(names)}
    return [[number[name] for name in group] for group in groups[: s.tasks]]


def label_orders(s: FewShotSettings) -> np.ndarray:
    """The label [tasks, N] of each class of an episode; under `swaps` two change at a time."""
    rng, rows = np.random.default_rng(0), [np.arange(s.ways)]
    for _ in range(1, s.tasks):
        row = rows[-1].copy()
        if s.stream == SWAPS:
            pair = rng.choice(s.ways, 2, replace=False)
            row[pair] = row[pair[::-1]]
        rows.append(row)
    return np.stack(rows)


def _episode(key: Key, data: Pool, s: FewShotSettings, show: Show, order: Array) -> Episode:
    """Draws classes and examples, and lays them out; `order`: the label [N] of each class."""
    pick_key, support_key, query_key, show_key = jax.random.split(key, 4)
    classes, rows = draw(pick_key, data, s.ways, s.shots + s.queries)
    if s.labels == "fixed":
        classes = data.classes[: s.ways]
    examples = jnp.stack([jnp.broadcast_to(classes[:, None], rows.shape), rows], -1)
    labels = jnp.broadcast_to(order[:, None], rows.shape)

    def shuffled(key: Key, count: int) -> Array:
        """Shuffled or in class order."""
        return jax.random.permutation(key, count) if s.shuffle else jnp.arange(count)

    support = shuffled(support_key, s.support)
    query = shuffled(query_key, s.ways * s.queries)

    def both(rows: Array) -> Array:
        """[N, K + queries, ...] -> [N * (K + queries), ...], the support first."""
        shown, asked = (
            a.reshape(-1, *a.shape[2:]) for a in (rows[:, : s.shots], rows[:, s.shots :])
        )
        return jnp.concatenate([shown[support], asked[query]])

    picked, targets = both(examples), both(labels)
    is_query = jnp.arange(len(targets)) >= s.support
    known = jnp.where(is_query[:, None], 0, jax.nn.one_hot(targets, s.ways))
    vector = jnp.concatenate([known, is_query[:, None]], -1).astype(jnp.float32)
    inputs = show(show_key, data, picked, vector)
    weights = is_query.astype(jnp.float32)
    return orders.lay_out(s.order, s.support, inputs, targets, weights)


def _show_features(key: Key, data: Pool, picked: Array, vector: Array) -> Array:
    del key
    kind, turn = picked[:, 0] // ROTATIONS, picked[:, 0] % ROTATIONS
    features = data.examples[kind, turn, picked[:, 1]]
    return jnp.concatenate([features, vector], -1)


def _show_images(
    described: Dataset, change: Augmentation, key: Key, data: Pool, picked: Array, vector: Array
) -> Observation:
    kind, turn = picked[:, 0] // ROTATIONS, picked[:, 0] % ROTATIONS
    images = jax.vmap(rotate)(pixels(described, data, kind, picked[:, 1]), turn)
    if data.training is not None:
        keys = jax.random.split(key, len(images))
        images = jax.vmap(functools.partial(augment, how=change))(keys, images)
    return Observation(standardise(images, described), vector)


def _references(described: Dataset, pool: Pool) -> Array:
    """One image each of some training classes, [TYPICAL, H, W, channels]."""
    places = jnp.linspace(0, pool.size - 1, TYPICAL).astype(jnp.int32)
    return standardise(pixels(described, pool, pool.classes[places] // ROTATIONS, 0), described)


few_shot = Factory(FewShotSettings, _few_shot)
