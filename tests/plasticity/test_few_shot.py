"""Few-shot episodes: support, queries, rotations, augmentation, centring."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.data.store import ROTATIONS
from plasticity.model import BACKBONES, EncoderSettings
from plasticity.model.conv4 import ImageEmbedding
from plasticity.model.prototypical import PrototypicalSettings, prototypical
from plasticity.task import Observation
from plasticity.tasks.augment import Augmentation, augment, rotate
from plasticity.tasks.few_shot import TYPICAL, few_shot
from plasticity.tasks.pools import centred
from tests import pools
from tests.networks import SMALL


@pytest.fixture
def images(monkeypatch):
    pools.install(monkeypatch, jnp.asarray(pools.marked_images()))


def sample(task, seed=0, split="test"):
    return jax.jit(task.sample)(jax.random.key(seed), task.data[split])


def marks(stack):
    """(class, example modulo 10) of marked images."""
    value = np.asarray(jnp.round(stack.image[:, 0, 0, 0] * 255)).astype(int)
    return value // 10, value % 10


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_episode_shows_labels_and_asks_for_others(images, shuffle):
    task = few_shot(ways=3, shots=2, queries=4, shuffle=shuffle)
    assert (task.steps, task.outputs, task.inputs) == (6, 3, 4)
    orders = set()
    for seed in range(5):
        episode = sample(task, seed)
        support, asked = episode.inputs, episode.queries
        shown = np.asarray(support.vector[:, :3].argmax(-1))
        np.testing.assert_array_equal(support.vector[:, 3], 0)
        np.testing.assert_array_equal(support.vector[:, :3].sum(-1), 1)
        np.testing.assert_array_equal(asked.vector, np.tile([0, 0, 0, 1], (12, 1)))
        np.testing.assert_array_equal(episode.weights, [0] * 6 + [1] * 12)
        np.testing.assert_array_equal(episode.targets[:6], shown)
        kinds, asked_kinds = marks(support)[0], marks(asked)[0]
        label_of = dict(zip(kinds.tolist(), shown.tolist(), strict=True))
        assert len(label_of) == 3
        assert [label_of[kind] for kind in asked_kinds] == episode.targets[6:].tolist()
        seen = set(zip(*marks(support), strict=True))
        assert len(seen | set(zip(*marks(asked), strict=True))) > len(seen)
        orders.add(tuple(shown.tolist()))
        if not shuffle:
            assert shown.tolist() == [0, 0, 1, 1, 2, 2]
    assert (len(orders) > 1) == shuffle


def test_support_and_queries_are_different_images(monkeypatch):
    unique = np.arange(pools.CLASSES * pools.PER_CLASS, dtype=np.float32)
    examples = unique.reshape(pools.CLASSES, 1, pools.PER_CLASS, 1)
    pools.install(monkeypatch, jnp.asarray(examples))
    task = few_shot(ways=4, shots=5, queries=15, features="yes")
    for seed in range(5):
        episode = sample(task, seed)
        numbers = np.concatenate([episode.inputs[:, 0], episode.queries[:, 0]])
        assert len(set(numbers.tolist())) == 4 * 20


def test_splits_draw_from_their_own_classes(images):
    task = few_shot(ways=5, shots=1, queries=2)
    for split, size in pools.SIZES.items():
        drawn = {int(k) for seed in range(30) for k in marks(sample(task, seed, split).inputs)[0]}
        assert drawn == set(range(size)), split


def test_rotations_are_classes(monkeypatch):
    pools.install(monkeypatch, jnp.asarray(pools.marked_images()), turns=4)
    task = few_shot(ways=5, shots=1, queries=1)
    corners = set()
    for seed in range(20):
        image = np.asarray(sample(task, seed).inputs.image[..., 0])
        for one in image:
            corners |= {c for c in ((0, 0), (0, -1), (-1, 0), (-1, -1)) if one[c] > 0}
    assert len(corners) == 4


def test_the_stream_holds_what_is_asked_apart(images):
    options = {"ways": 3, "shots": 1, "queries": 2}
    apart, stream = few_shot(**options), few_shot(**options, order="stream")
    one, two = sample(apart), sample(stream)
    assert two.queries is None
    assert stream.steps == 9
    for a, b, c in zip(one.inputs, one.queries, two.inputs, strict=True):
        np.testing.assert_array_equal(jnp.concatenate([a, b]), c)


def test_prototypes_of_well_parted_features_know_all(monkeypatch):
    pools.install(monkeypatch, jnp.asarray(pools.clustered_features()))
    task = few_shot(ways=5, shots=3, queries=5, features="yes")
    net = prototypical(PrototypicalSettings(), EncoderSettings(), task.shape)
    episode = sample(task)
    slow = net.init(jax.random.key(0))
    shown, asked, _ = net.prepare(slow, (), episode.inputs, episode.queries, 0, None)
    answers = net.forward(slow, (shown,), asked, None, None, None, True).outputs.task
    np.testing.assert_array_equal(answers.argmax(-1), episode.targets[15:])
    features = np.asarray(episode.inputs[:, :8])
    labels = np.asarray(episode.targets[:15])
    means = np.stack([features[labels == c].mean(0) for c in range(5)])
    distance = ((np.asarray(episode.queries[:, None, :8]) - means) ** 2).mean(-1)
    np.testing.assert_allclose(answers, -distance, rtol=1e-4, atol=1e-5)
    # A class that was not shown is no better than the farthest.
    hidden = shown._replace(label=shown.label.at[:, 2].set(0))
    without = net.forward(slow, (hidden,), asked, None, None, None, True).outputs.task
    assert (without.argmax(-1) != 2).all()
    np.testing.assert_array_equal(without[:, 2], without.min(-1))


def test_augmentation_touches_training_alone(images):
    plain = few_shot(ways=3, queries=2)
    changed = few_shot(ways=3, queries=2, flip=True, crop=4, jitter=0.5)
    same = sample(plain).inputs.image == sample(changed).inputs.image
    assert bool(same.all())
    trained = sample(changed, split="train").inputs.image
    assert bool((trained != sample(plain, split="train").inputs.image).any())


def test_each_change_does_what_it_says():
    image = jax.random.uniform(jax.random.key(0), (8, 8, 3))
    keys = jax.random.split(jax.random.key(1), 64)

    def changed(**how):
        return jax.vmap(lambda key: augment(key, image, Augmentation(**how)))(keys)

    np.testing.assert_array_equal(changed(), jnp.broadcast_to(image, (64, 8, 8, 3)))
    flipped = changed(flip=True)
    turned = (flipped == image[:, ::-1]).all((1, 2, 3))
    assert bool((turned | (flipped == image).all((1, 2, 3))).all())
    assert 16 < int(turned.sum()) < 48
    moved = changed(crop=2)
    corners = {tuple(np.argwhere(np.asarray(m[..., 0]) == float(image[4, 4, 0]))[0]) for m in moved}
    assert corners <= {(r, c) for r in range(2, 7) for c in range(2, 7)}
    assert len(corners) > 15
    jittered = changed(jitter=0.3)
    assert float(jittered.min()) >= 0
    assert float(jittered.max()) <= 1
    assert float(jittered.mean((1, 2, 3)).std()) > 0.02
    np.testing.assert_array_equal(rotate(image, jnp.int32(1)), np.rot90(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "omnigot"}, "task.dataset='omnigot'.*did you mean 'omniglot'"),
        ({"split": "lake"}, "task.split='lake'.*valid: alphabets, vinyals"),
        ({"ways": 6}, "task.ways=6 is more than the 5 classes that omniglot has in its validation"),
        ({"ways": 1}, "task.ways=1 must be at least 2"),
        ({"shots": 10, "queries": 11}, "task.shots=10 and task.queries=11 .* more than the 20"),
        ({"crop": 28}, "task.crop=28 must be"),
        ({"jitter": 1.5}, "task.jitter=1.5 must be"),
        ({"order": "apart"}, "task.order='apart' is unknown"),
    ],
)
def test_wrong_settings_are_named(images, options, message):
    with pytest.raises(ValueError, match=message):
        few_shot(**options)


@pytest.mark.thorough
@pytest.mark.parametrize("backbone", ["transformer", "rnn"])
def test_what_images_have_in_common_is_taken_away(backbone, monkeypatch):
    """Typical images, of training classes, have embeddings of mean 0 and mean square 1."""
    noise = np.random.default_rng(0).integers(0, 255, (pools.CLASSES, pools.PER_CLASS, 28, 28, 1))
    pools.install(monkeypatch, jnp.asarray(noise, jnp.uint8))
    task = few_shot(ways=3, shots=1, queries=2)
    assert task.reference_images.shape == (TYPICAL, 28, 28, 1)
    make, settings = BACKBONES[backbone].make, BACKBONES[backbone].settings
    encoder = EncoderSettings(filters=8)
    see = make(settings(**SMALL[backbone]), encoder, task.shape).init(jax.random.key(0))["params"][
        "see"
    ]
    inputs = Observation(task.reference_images, jnp.zeros((TYPICAL, 4)))
    seen = ImageEmbedding(encoder).apply({"params": see}, inputs, task.reference_images)[:, :-4]
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.square(seen).mean(), 1, rtol=1e-2)
    alone = Observation(inputs.image[:1], inputs.vector[:1])
    first = ImageEmbedding(encoder).apply({"params": see}, alone, task.reference_images)[:, :-4]
    np.testing.assert_allclose(first, seen[:1], atol=1e-5)  # no image hears of the others


def test_features_are_centred_by_what_training_may_see():
    rng = np.random.default_rng(0)
    features = rng.normal(loc=[3.0, -2.0], scale=[1.0, 2.0], size=(6, 4, 20, 2))
    features[4:] += 100  # classes of other splits
    training = np.array([c * ROTATIONS + turn for c in range(4) for turn in range(2)])
    moved = centred(features, training)
    known = moved[:4, :2]
    np.testing.assert_allclose(known.mean((0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(np.square(known).mean(), 1)
    stretch = np.ptp(moved, axis=(0, 1, 2)) / np.ptp(features, axis=(0, 1, 2))
    np.testing.assert_allclose(stretch[0], stretch[1])  # one factor for all directions
