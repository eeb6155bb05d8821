"""Data sets: prepared once, loaded afterwards, damaged, prepared twice at once."""

import json
import os
import shutil

import numpy as np
import pytest

from plasticity.data import DATASETS, DataError, load
from plasticity.data.store import splits
from plasticity.experiments.data import prepare as prepare_module
from plasticity.experiments.data.prepare import counts, prepare
from tests import archives as small
from tests.archives import left_behind

ZIP, TAR = "images_background.zip", "cifar-100-binary.tar.gz"


@pytest.mark.parametrize("name", DATASETS)
def test_data_are_prepared_once(name, tiny, tmp_path):
    dataset = tiny[name]
    folder, reused = prepare(dataset, tmp_path / "archives", accept_other=True)
    assert not reused
    again, reused = prepare(dataset, tmp_path / "archives", accept_other=True)
    assert again == folder
    assert reused
    loaded = load(dataset)
    assert loaded.images.shape == (dataset.classes, dataset.per_class, *dataset.shape)
    assert loaded.images.dtype == np.uint8
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["official"] is False
    assert set(manifest["archives"]) == {archive.name for archive in dataset.archives}
    assert {p.name for p in folder.iterdir()} == {"images.npy", "manifest.json"}
    assert list((tmp_path / "data").glob(".tmp-*")) == []


def test_pixels_and_classes_are_those_of_the_archive(tiny, tmp_path):
    for name in tiny:
        prepare(tiny[name], tmp_path / "archives", accept_other=True)
    cifar = load(tiny["cifar_fs"])
    table = small.cifar_table(small.RECORDS["train.bin"], 0)
    which = cifar.classes.index("bear")
    rows = table[table[:, 1] == which][:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    # A class holds the images of test.bin, then those of train.bin, in their order.
    np.testing.assert_array_equal(cifar.images[which, small.RECORDS["test.bin"] :], rows)
    drawn = load(tiny["omniglot"])
    assert drawn.classes == sorted(drawn.classes)
    assert 15 < drawn.images.mean() < 40  # a tenth is ink, and ink is 255


def test_classes_are_in_one_split_each(tiny, tmp_path):
    for dataset in tiny.values():
        prepare(dataset, tmp_path / "archives", accept_other=True)
        classes = load(dataset).classes
        for scheme in dataset.schemes:
            parts = [set(s.classes) for s in splits(dataset, scheme, classes).values()]
            assert set.union(*parts) == set(classes)
            if scheme != "same_classes":
                assert sum(map(len, parts)) == len(classes)
        assert counts(dataset).keys() == dataset.schemes.keys()


def test_messages_name_the_command_and_the_source(tiny, tmp_path):
    with pytest.raises(DataError, match=r"experiments.prepare_data --dataset=omniglot"):
        load(tiny["omniglot"])
    (tmp_path / "archives" / ZIP).unlink()
    with pytest.raises(DataError, match=rf"{ZIP} does not exist; .* holds .*published at https"):
        prepare(tiny["omniglot"], tmp_path / "archives", accept_other=True)


def test_other_checksums_have_to_be_accepted(tiny, tmp_path):
    with pytest.raises(DataError, match=r"sha256 .* not ad41ab679c8b.*--accept_other_archives"):
        prepare(tiny["omniglot"], tmp_path / "archives", accept_other=False)
    assert left_behind(tmp_path) == []
    assert (tmp_path / "archives" / ZIP).is_file()  # the user's file stays


def change_manifest(**values):
    def change(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


DAMAGES = {
    "truncated array": lambda f: os.truncate(f / "images.npy", 5000),
    "empty array": lambda f: os.truncate(f / "images.npy", 0),
    "no array": lambda f: (f / "images.npy").unlink(),
    "other shape": lambda f: np.save(f / "images.npy", np.zeros((3, 3, 28, 28, 1), np.uint8)),
    "other type": lambda f: np.save(f / "images.npy", np.zeros((12, 3, 28, 28, 1))),
    "pickled array": lambda f: np.save(f / "images.npy", np.array([None])),
    "empty manifest": lambda f: (f / "manifest.json").write_bytes(b""),
    "NULs": lambda f: (f / "manifest.json").write_bytes(bytes(100)),
    "list": lambda f: (f / "manifest.json").write_text("[1]"),
    "number": lambda f: (f / "manifest.json").write_text("1"),
    "bad UTF-8": lambda f: (f / "manifest.json").write_bytes(b'{"a": "\xff\xfe"}'),
    "no classes": change_manifest(classes=None),
    "other classes": change_manifest(classes=["cat", "dog"]),
    "numbers as classes": change_manifest(classes=[1, 2, 3]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_come_with_the_folder_to_remove(damage, prepared_omniglot):
    dataset, folder, archives_folder = prepared_omniglot
    DAMAGES[damage](folder)
    message = rf"damaged .* Remove the folder {folder}, .*prepare_data --dataset=omniglot"
    with pytest.raises(DataError, match=message):
        load(dataset)
    with pytest.raises(DataError, match=message):
        prepare(dataset, archives_folder, accept_other=True)


@pytest.fixture(scope="module")
def _prepared_once(tmp_path_factory):
    """A small Omniglot, prepared: (data set, folder, archives)."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("prepared")
        patch.setenv("PLASTICITY_DATA_DIR", str(root / "data"))
        small.write_all(root / "archives")
        dataset = small.shrink(patch)["omniglot"]
        folder, _ = prepare(dataset, root / "archives", accept_other=True)
    return dataset, folder, root / "archives"


@pytest.fixture
def prepared_omniglot(_prepared_once, tmp_path, monkeypatch):
    """A copy of it."""
    dataset, folder, archives_folder = _prepared_once
    monkeypatch.setenv("PLASTICITY_DATA_DIR", str(tmp_path / "data"))
    copy = tmp_path / "data" / "omniglot" / folder.name
    shutil.copytree(folder, copy)
    return dataset, copy, archives_folder


def test_two_processes_may_prepare_at_once(tiny, tmp_path, monkeypatch):
    """The one that comes second uses what the first one has written."""
    dataset = tiny["omniglot"]

    def decode(*args):
        classes = real(*args)
        monkeypatch.setattr(prepare_module, "_decode", real)
        prepare(dataset, tmp_path / "archives", accept_other=True)
        return classes

    real = prepare_module._decode
    monkeypatch.setattr(prepare_module, "_decode", decode)
    folder, _ = prepare(dataset, tmp_path / "archives", accept_other=True)
    assert load(dataset).checksum == folder.name
    assert list((tmp_path / "data").glob(".tmp-*")) == []


@pytest.mark.parametrize("error", [OSError, RuntimeError])  # of numpy, of TFDS
def test_a_full_disk_leaves_nothing(error, tiny, tmp_path, monkeypatch):
    def full(*args):
        raise error("No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match=r"PLASTICITY_DATA_DIR=.* No space left .* free space"):
        prepare(tiny["omniglot"], tmp_path / "archives", accept_other=True)
    assert left_behind(tmp_path) == []


def test_the_real_archives_have_the_published_counts():
    """Where they are prepared."""
    try:
        found = {name: counts(dataset) for name, dataset in DATASETS.items()}
    except DataError as error:
        pytest.skip(str(error))
    assert found["omniglot"]["vinyals"] == {
        "train": (4112, 82240),
        "validation": (688, 13760),
        "test": (1692, 33840),
    }
    assert found["cifar_fs"]["bertinetto"] == {
        "train": (64, 38400),
        "validation": (16, 9600),
        "test": (20, 12000),
    }
