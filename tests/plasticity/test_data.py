"""Archives that are what they should be, and many that are not."""

import json
import pickle
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plasticity.data import DATASETS, DataError, cifar_fs, load, omniglot
from plasticity.data.prepare import counts, prepare
from plasticity.data.store import splits
from tests import archives as small
from tests.archives import left_behind

ZIP, TAR = "images_background.zip", "cifar-100-binary.tar.gz"


@pytest.mark.parametrize("name", DATASETS)
def test_prepared_once_loaded_ever_after(name, tiny, tmp_path):
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


def test_what_is_missing_comes_with_the_command(tiny, tmp_path):
    with pytest.raises(DataError, match=r"experiments.prepare_data --dataset=omniglot"):
        load(tiny["omniglot"])
    (tmp_path / "archives" / ZIP).unlink()
    with pytest.raises(DataError, match=rf"{ZIP} does not exist; .* holds .*published at https"):
        prepare(tiny["omniglot"], tmp_path / "archives", accept_other=True)


def test_other_checksums_have_to_be_accepted(tiny, tmp_path):
    with pytest.raises(DataError, match=r"sha256 .* not ad41ab679c8b.*--accept_other_archives"):
        prepare(tiny["omniglot"], tmp_path / "archives", accept_other=False)
    assert left_behind(tmp_path) == []
    assert (tmp_path / "archives" / ZIP).is_file()  # it is not ours


def rename(old, new):
    def change(members):
        return {name.replace(old, new): data for name, data in members.items()}

    return change


def put(name, data):
    return lambda members: members | {name: data}


def drop(part):
    return lambda members: {n: d for n, d in members.items() if part not in n}


def replace_first(data):
    return lambda members: members | {next(iter(members)): data}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("../evil.png", small.png()), "unsafe path, '../evil.png'"),
        (put("/etc/passwd", b"root"), "unsafe path, '/etc/passwd'"),
        (put("images_background\\..\\evil.png", b""), "unsafe path"),
        (put("images_background/readme.txt", b""), "'images_background/readme.txt', which does"),
        (rename("images_background", "images_evaluation"), "is not in images_background/: is it misnamed"),
        (drop("_01.png"), "has 2 drawings, not 3"),
        (drop("Futurama"), "(2, 1) characters and alphabets, not (5, 2)"),
        (replace_first(small.png(side=64)), "has 64 x 64 pixels, not 105 x 105"),
        (replace_first(b"no image"), "is not an image"),
    ],
)
def test_foreign_drawings_are_refused(change, message, tiny, tmp_path):
    members = change(small.omniglot_members("images_background"))
    small.write_zip(tmp_path / "archives" / ZIP, members)
    with pytest.raises(DataError) as error:
        prepare(tiny["omniglot"], tmp_path / "archives", accept_other=True)
    assert message in str(error.value)
    assert left_behind(tmp_path) == []


def edited(row, column, value, file="train.bin"):
    def change(members):
        table = small.cifar_table(small.RECORDS[file], list(small.RECORDS).index(file)).copy()
        table[row, column] = value
        return members | {f"cifar-100-binary/{file}": table.tobytes()}

    return change


def shortened(members):
    name = "cifar-100-binary/train.bin"
    return members | {name: members[name][:-7]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited(4, 1, 100), "train.bin, record 4: fine label 100 is out of range, 0 to 99"),
        (edited(5, 0, 20, "test.bin"), "test.bin, record 5: coarse label 20 is out of range"),
        (shortened, "bytes, not 300 records of 3074"),
        (drop("test.bin"), "lacks cifar-100-binary/test.bin"),
        (put("cifar-100-binary/evil.sh", b""), "'cifar-100-binary/evil.sh', which does not"),
        (put("../../evil", b""), "unsafe path, '../../evil'"),
        (put("cifar-100-binary/fine_label_names.txt", b"one\ntwo"), "does not name the 100"),
        (put("cifar-100-python/train", pickle.dumps({})), "'cifar-100-python/train', which is not in cifar-100-binary/"),
    ],
)
def test_foreign_images_are_refused(change, message, tiny, tmp_path):
    small.write_tar(tmp_path / "archives" / TAR, change(small.cifar_members()))
    with pytest.raises(DataError) as error:
        prepare(tiny["cifar_fs"], tmp_path / "archives", accept_other=True)
    assert message in str(error.value)
    assert left_behind(tmp_path) == []


def test_mislabelled_images_are_refused(tiny, tmp_path):
    """Labels within range, but not as many of each as there should be."""
    table = small.cifar_table(small.RECORDS["train.bin"], 0)
    other = int((table[:, 1] != table[0, 1]).argmax())
    small.write_tar(
        tmp_path / "archives" / TAR, edited(0, 1, table[other, 1])(small.cifar_members())
    )
    with pytest.raises(DataError, match=r"train.bin has [24] images of \w+, not 3"):
        prepare(tiny["cifar_fs"], tmp_path / "archives", accept_other=True)


def test_a_link_is_no_file(tiny, tmp_path):
    members = small.cifar_members()
    members.pop("cifar-100-binary/test.bin")
    path = tmp_path / "archives" / TAR
    small.write_tar(path, members)
    with tarfile.open(path, "r:gz") as archive:
        contents = {m.name: archive.extractfile(m).read() for m in archive}
    with tarfile.open(path, "w:gz") as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, small.io.BytesIO(data))
        link = tarfile.TarInfo("cifar-100-binary/test.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match=r"test.bin is a link or a device"):
        prepare(tiny["cifar_fs"], tmp_path / "archives", accept_other=True)


READERS = {ZIP: omniglot.drawings, TAR: cifar_fs.images}


@pytest.mark.parametrize("name", READERS)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    where=st.floats(0, 1, exclude_max=True),
    what=st.binary(min_size=1, max_size=8),
    cut=st.booleans(),
)
def test_damage_is_an_error_or_harmless(name, where, what, cut, tiny, tmp_path):
    """Whatever is overwritten or cut off: a DataError, or the very same images."""
    path = tmp_path / "archives" / name
    whole = path.read_bytes()
    place = int(where * len(whole))
    damaged = whole[:place] if cut else whole[:place] + what + whole[place + len(what) :]
    other = tmp_path / "damaged"
    other.mkdir(exist_ok=True)
    (other / name).write_bytes(damaged)
    try:
        seen = list(READERS[name](other / name))
    except DataError:
        return
    expected = list(READERS[name](path))
    assert [row[:2] for row in seen] == [row[:2] for row in expected]
    assert all((a[2] == b[2]).all() for a, b in zip(seen, expected, strict=True))


def test_the_real_archives_have_the_published_counts():
    """Where they are prepared."""
    try:
        told = {name: counts(dataset) for name, dataset in DATASETS.items()}
    except DataError as error:
        pytest.skip(str(error))
    assert told["omniglot"]["vinyals"] == {
        "train": (4112, 82240),
        "validation": (688, 13760),
        "test": (1692, 33840),
    }
    assert told["cifar_fs"]["bertinetto"] == {
        "train": (64, 38400),
        "validation": (16, 9600),
        "test": (20, 12000),
    }
