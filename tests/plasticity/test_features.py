"""Files of features: accepted types, centring, and files that are refused."""

import contextlib

import numpy as np
import pytest

from plasticity.data import OMNIGLOT, DataError, Images
from plasticity.tasks.few_shot import few_shot
from plasticity.tasks.pools import centred, features_of

GOOD = np.random.default_rng(0).normal(size=(6, 4, 20, 8)).astype(np.float32)
TRAINING = np.arange(8)  # two classes with four rotations each


def save(path, features, **others):
    np.savez(path, features=features, **{"dataset": "omniglot", "checksum": "abc"} | others)
    return str(path)


def read(path):
    return centred(features_of(path, OMNIGLOT, "abc"), TRAINING)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "features.npz"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.int64, bool])
def test_all_real_types_give_the_features_of_float64(dtype, file):
    """float16 features of this size overflow when they are squared in float16."""
    raw = (GOOD > 0 if dtype is bool else GOOD * 200).astype(dtype)
    expected = read(save(file, raw.astype(np.float64)))
    np.testing.assert_allclose(read(save(file, raw)), expected, atol=1e-5)


@pytest.mark.parametrize(("offset", "scale"), [(0, 1e30), (1e4, 1), (0, 1e-30)])
def test_centring_does_not_lose_digits_to_offset_or_scale(offset, scale, file):
    raw = (offset + scale * GOOD).astype(np.float32)
    expected = read(save(file, raw.astype(np.float64)))
    np.testing.assert_allclose(read(save(file, raw)), expected, atol=1e-5)
    training = expected[:2]
    np.testing.assert_allclose(training.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(np.square(training).mean(), 1, rtol=1e-5)


def one(value, dtype=np.float32):
    features = GOOD.astype(dtype)
    features[1, 2, 3, 4] = value
    return features


CONTENT = {
    "nan": (one(np.nan), r"'features' is nan at \[1, 2, 3, 4\]; 1 of its 3840 numbers are not"),
    "inf": (one(-np.inf), r"'features' is -inf at \[1, 2, 3, 4\]"),
    "beyond float32": (one(1e39, np.float64), r"'features' is 1e\+39 .* not finite in float32"),
    "constant": (np.full_like(GOOD, 3.7), "the same for all images of the training classes"),
    "complex": (GOOD.astype(np.complex64), "'features' is of type complex64, not float32"),
    "text": (GOOD.astype(str), "'features' is of type <U32, not float32"),
    "pickled": (GOOD.astype(object), "is not a file of features .*pickle"),
    "three axes": (GOOD[:, 0], r"has the shape \(6, 20, 8\), not \[classes, 4 or 1 rotations"),
    "three rotations": (GOOD[:, :3], r"has the shape \(6, 3, 20, 8\), not \[classes, 4 or 1"),
    "no features": (GOOD[..., :0], r"has the shape \(6, 4, 20, 0\), not"),
    "no classes": (GOOD[:0], r"has the shape \(0, 4, 20, 8\), not"),
    "a number": (np.float32(3), r"has the shape \(\), not"),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("case", CONTENT)
def test_unusable_arrays_are_named(case, file):
    features, message = CONTENT[case]
    with pytest.raises(DataError, match=f"task.features.*{message}"):
        read(save(file, features))


def test_features_have_to_be_of_the_prepared_images(file):
    for others, message in (
        ({"checksum": "old"}, "made from omniglot old, but .* are omniglot abc"),
        ({"dataset": "cifar_fs"}, "made from cifar_fs abc, but .* are omniglot abc"),
        ({"dataset": np.array([1, 2])}, r"made from \[1 2\] abc"),
    ):
        with pytest.raises(DataError, match=message):
            read(save(file, GOOD, **others))


def truncated(path):
    save(path, GOOD)
    path.write_bytes(path.read_bytes()[:-99])


def without_names(path):
    with path.open("wb") as file:
        np.save(file, GOOD)


def damaged(path):
    np.savez_compressed(path, features=GOOD, dataset="omniglot", checksum="abc")
    whole = bytearray(path.read_bytes())
    whole[60:80] = bytes(range(20))
    path.write_bytes(whole)


FILES = {
    "missing": (lambda path: None, "No such file"),
    "a folder": (lambda path: path.mkdir(), "Is a directory"),
    "empty": (lambda path: path.touch(), "no .npz file"),
    "text": (lambda path: path.write_text("# readme"), "no .npz file"),
    "truncated": (truncated, "no .npz file, or is truncated"),
    "an array without a name": (without_names, "no .npz file"),
    "damaged": (damaged, ""),
    "no checksum": (lambda path: np.savez(path, features=GOOD, dataset="x"), "no array 'checksum'"),
    "other arrays": (lambda path: np.savez(path, x=GOOD), "no array 'checksum'"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_features_are_refused(case, file):
    write, message = FILES[case]
    write(file)
    with pytest.raises(
        DataError, match=rf"features.npz' is not a file of features .*{message}.*experiments.encode"
    ):
        read(str(file))


def test_random_damage_is_a_message_or_harmless(file):
    rng = np.random.default_rng(0)
    save(file, GOOD[:2, :1, :3])
    whole, good = file.read_bytes(), features_of(str(file), OMNIGLOT, "abc")
    for _ in range(300):
        broken = bytearray(whole)
        for place in rng.integers(0, len(broken), rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        file.write_bytes(broken)
        with contextlib.suppress(DataError):
            np.testing.assert_array_equal(features_of(str(file), OMNIGLOT, "abc"), good)


def test_a_path_may_start_with_the_home_folder(file, monkeypatch):
    monkeypatch.setenv("HOME", str(file.parent))
    save(file, GOOD)
    assert read("~/features.npz").shape == GOOD.shape


@pytest.fixture
def _six_classes(monkeypatch):
    """Stands for Omniglot: two classes for training, two for validation, two for test."""
    alphabets = ("background/Futurama", "background/Armenian", "evaluation/Tengwar")
    names = [f"images_{alphabet}/character{i:02}" for alphabet in alphabets for i in range(2)]
    images = Images(np.zeros((6, 20, *OMNIGLOT.shape), np.uint8), names, "abc")
    monkeypatch.setattr("plasticity.tasks.pools.load", lambda described: images)


@pytest.mark.usefixtures("_six_classes")
def test_classes_rotations_and_images_have_to_agree_with_the_data_set(file):
    for features, there in (
        (GOOD[:, :1], r"\(6, 1, 20\)"),  # rotations that are classes would look the same
        (GOOD[:3], r"\(3, 4, 20\)"),
        (GOOD[:, :, :5], r"\(6, 4, 5\)"),
    ):
        with pytest.raises(
            DataError, match=rf"has {there} .*task.split='vinyals' needs \(6, 4, 20\)"
        ):
            few_shot(ways=2, features=save(file, features))
    assert int(few_shot(ways=2, features=save(file, GOOD)).data["train"].size) == 8
    for features in (GOOD, GOOD[:, :1]):  # a split without rotations accepts both
        task = few_shot(ways=2, split="alphabets", features=save(file, features))
        assert int(task.data["train"].size) == 2
