"""Few-shot classification of images: N ways, K shots.

An episode shows N * K support steps, each an image with its label, and asks for the labels of
queries. Which class bears which label is drawn anew for every episode.

Queries are asked one by one, each after the support alone, which is the standard protocol, or in
one stream (`order`, see `plasticity.tasks.orders`).

Inputs are the image and a vector [label, one-hot (N) | 1 for a query]; or, from a file of features
of a frozen encoder, one vector [feature (F) | label (N) | 1 for a query]. Chance is 1 / N.

Source: Vinyals et al. 2016; Chaudhary 2025, whose code shows support and queries in class order
(`shuffle=False`) in one stream, where the position alone gives the label away.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.data import DATASETS, Dataset
from plasticity.data.store import ROTATIONS
from plasticity.registry import check_choice, lookup
from plasticity.tasks import orders
from plasticity.tasks.augment import Augmentation, augment, rotate, standardise
from plasticity.tasks.pools import Pool, check_ways, draw, pools
from plasticity.types import Array, Episode, Key, Observation, Task

TYPICAL = 64  # images by whose features those of others are centred


class Arrangement(NamedTuple):
    """How an episode is put together."""

    ways: int
    shots: int
    queries: int
    order: str
    shuffle: bool

    @property
    def support(self) -> int:
        """Steps of the support."""
        return self.ways * self.shots


# (key, pool, (class, example) pairs [S, 2], vector [S, N + 1]) -> inputs [S, ...]
Show = Callable[[Key, Pool, Array, Array], Array | Observation]


def few_shot(
    *,
    dataset: str = "omniglot",
    split: str = "vinyals",
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    order: str = "independent",
    shuffle: bool = True,
    flip: bool = False,
    crop: int = 0,
    jitter: float = 0.0,
    features: str = "",
) -> Task:
    """The task.

    Args:
      dataset: a name of `plasticity.data.DATASETS`; it has to be prepared.
      split: which classes are for training, validation and test: a scheme of the data set.
      ways: N, classes per episode. shots: K, support images per class. queries: per class.
      order, shuffle: see above.
      flip, crop, jitter: augmentation of images in training, see `plasticity.tasks.augment`; of no
        effect on features.
      features: file of `experiments.encode`; empty: images.
    """
    described = lookup(DATASETS, dataset, "task.dataset")
    lookup(described.schemes, split, "task.split")
    check_choice(order, orders.ORDERS, "task.order")
    arrangement = Arrangement(ways, shots, queries, order, shuffle)
    _check(described, arrangement, crop, jitter)
    data, checksum = pools(described, split, features)
    check_ways(ways, data, described)
    show: Show = _show_features
    if not features:
        show = functools.partial(_show_images, described, Augmentation(flip, crop, jitter))

    def sample(key: Key, data: Pool) -> Episode:
        return _episode(key, data, arrangement, show)

    def loss(answers: Array, episode: Episode) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(answers, episode.targets)

    def metrics(answers: Array, episode: Episode) -> dict[str, Array]:
        correct = (answers.argmax(-1) == episode.targets).astype(answers.dtype)
        return {"accuracy": correct[arrangement.support :].mean()}

    return Task(
        inputs=(data["train"].examples.shape[-1] if features else 0) + ways + 1,
        outputs=ways,
        steps=orders.steps(order, arrangement.support, ways * queries),
        main_metric="accuracy",
        chance=1 / ways,
        sample=sample,
        loss=loss,
        metrics=metrics,
        image=None if features else described.shape,
        reference_images=None if features else _typical(described, data["train"]),
        data=data,
        checksum=checksum,
        phases=orders.phases(order, arrangement.support, ways * queries),
    )


def _episode(key: Key, data: Pool, arrangement: Arrangement, show: Show) -> Episode:
    """Draws classes and examples, and lays them out."""
    pick_key, support_key, query_key, show_key = jax.random.split(key, 4)
    ways, shots = arrangement.ways, arrangement.shots
    classes, rows = draw(pick_key, data, ways, shots + arrangement.queries)
    examples = jnp.stack([jnp.broadcast_to(classes[:, None], rows.shape), rows], -1)
    labels = jnp.broadcast_to(jnp.arange(ways)[:, None], rows.shape)

    def order(key: Key, count: int) -> Array:
        """Shuffled or in class order."""
        return jax.random.permutation(key, count) if arrangement.shuffle else jnp.arange(count)

    support = order(support_key, arrangement.support)
    query = order(query_key, ways * arrangement.queries)

    def both(rows: Array) -> Array:
        """[N, K + queries, ...] -> [N * (K + queries), ...], the support first."""
        shown, asked = (a.reshape(-1, *a.shape[2:]) for a in (rows[:, :shots], rows[:, shots:]))
        return jnp.concatenate([shown[support], asked[query]])

    picked, targets = both(examples), both(labels)
    is_query = jnp.arange(len(targets)) >= arrangement.support
    known = jnp.where(is_query[:, None], 0, jax.nn.one_hot(targets, ways))
    vector = jnp.concatenate([known, is_query[:, None]], -1).astype(jnp.float32)
    inputs = show(show_key, data, picked, vector)
    weights = is_query.astype(jnp.float32)
    return orders.lay_out(arrangement.order, arrangement.support, inputs, targets, weights)


def _show_features(key: Key, data: Pool, picked: Array, vector: Array) -> Array:
    del key
    kind, turn = picked[:, 0] // ROTATIONS, picked[:, 0] % ROTATIONS
    features = data.examples[kind, turn, picked[:, 1]]
    return jnp.concatenate([features, vector], -1)


def _show_images(
    described: Dataset, change: Augmentation, key: Key, data: Pool, picked: Array, vector: Array
) -> Observation:
    kind, turn = picked[:, 0] // ROTATIONS, picked[:, 0] % ROTATIONS
    images = data.examples[kind, picked[:, 1]].astype(jnp.float32) / 255
    images = jax.vmap(rotate)(images, turn)
    if data.training is not None:
        keys = jax.random.split(key, len(images))
        images = jax.vmap(functools.partial(augment, how=change))(keys, images)
    return Observation(standardise(images, described), vector)


def _typical(described: Dataset, pool: Pool) -> Array:
    """An image each of some training classes, [TYPICAL, H, W, channels]."""
    places = jnp.linspace(0, pool.size - 1, TYPICAL).astype(jnp.int32)
    images = pool.examples[pool.classes[places] // ROTATIONS, 0]
    return standardise(images.astype(jnp.float32) / 255, described)


def _check(described: Dataset, arrangement: Arrangement, crop: int, jitter: float) -> None:
    for name, least in (("ways", 2), ("shots", 1), ("queries", 1)):
        value = getattr(arrangement, name)
        if value < least:
            raise ValueError(f"task.{name}={value} must be at least {least}")
    if arrangement.shots + arrangement.queries > described.per_class:
        raise ValueError(
            f"task.shots={arrangement.shots} and task.queries={arrangement.queries} together ask "
            f"for more than the {described.per_class} images per class of {described.name}"
        )
    if not 0 <= crop < min(described.shape[:2]):
        raise ValueError(f"task.crop={crop} must be at least 0 and less than the image's side")
    if not 0 <= jitter < 1:
        raise ValueError(f"task.jitter={jitter} must be at least 0 and less than 1")
