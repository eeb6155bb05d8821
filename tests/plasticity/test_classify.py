"""Plain classification: labels, groups of classes, and images that no two splits share."""

import jax
import numpy as np
import pytest

from plasticity.tasks.classify import classify
from tests import pools

PARTS = {"test": range(4), "validation": range(4, 8), "train": range(8, 20)}


@pytest.fixture(autouse=True)
def prepared(monkeypatch, tmp_path):
    """Ten classes of three alphabets; an image's first two pixels are its class and its number."""
    images = np.zeros((pools.CLASSES, pools.PER_CLASS, 28, 28, 1), np.uint8)
    images[:, :, 0, 0, 0] = np.arange(pools.CLASSES)[:, None]
    images[:, :, 0, 1, 0] = np.arange(pools.PER_CLASS)
    np.save(pools.write_omniglot(tmp_path) / "omniglot" / "small" / "images.npy", images)
    monkeypatch.setenv("PLASTICITY_DATA_DIR", str(tmp_path))


def drawn(task, split):
    """Labels, classes and numbers of many images."""
    sample = jax.jit(jax.vmap(task.sample, (0, None)))
    episodes = sample(jax.random.split(jax.random.key(0), 30), task.data[split])
    marks = np.round(255 * np.asarray(episodes.inputs.image)[:, :, 0, :2, 0]).astype(int)
    return np.asarray(episodes.targets).ravel(), marks[..., 0].ravel(), marks[..., 1].ravel()


def test_each_split_has_images_of_its_own():
    task = classify(labels=4, images=50)
    assert (task.inputs, task.outputs, task.steps, task.chance) == (0, 4, 50, 0.25)
    for split, numbers in PARTS.items():
        labels, classes, found = drawn(task, split)
        np.testing.assert_array_equal(labels, classes)
        assert set(labels) == set(range(4))
        assert set(found) == set(numbers), split


def test_a_label_may_be_a_group_of_classes():
    labels, classes, _ = drawn(classify(by="alphabets", labels=3, images=50), "test")
    pairs = set(zip(labels.tolist(), classes.tolist(), strict=True))
    alphabets = {0: range(3), 1: range(3, 7), 2: range(7, 10)}
    assert pairs == {(label, one) for label, group in alphabets.items() for one in group}
    assert max(abs(np.bincount(labels) / len(labels) - 1 / 3)) < 0.05  # whatever their sizes


def test_only_training_images_are_changed():
    task = classify(labels=4, images=50, crop=5)
    for split in PARTS:
        labels, classes, _ = drawn(task, split)
        assert (labels == classes).all() == (split != "train")


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"task.labels=4 must be at most 3, the alphabets"):
        classify(by="alphabets", labels=4)
    with pytest.raises(ValueError, match=r"task.labels=11 must be at most 10, the classes"):
        classify(labels=11)
    with pytest.raises(ValueError, match=r"task.by='tens'.*alphabets"):
        classify(by="tens")
    with pytest.raises(ValueError, match=r"task.crop=28 must be less than 28"):
        classify(crop=28)
