"""Archives that are accepted in every form, and archives that are refused."""

import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plasticity.data import DataError, archives, cifar_fs, omniglot
from plasticity.experiments.data.prepare import prepare
from tests import archives as small
from tests.archives import left_behind

ZIP, TAR = "images_background.zip", "cifar-100-binary.tar.gz"
READERS = {ZIP: omniglot.drawings, TAR: cifar_fs.images}


# How archives arrive that a user has repacked, {case: (members) -> members}.
REPACKED = {
    "mac": lambda members: (
        {"__MACOSX/._images_background": b"x"}
        | members
        | {f"{next(iter(members)).split('/')[0]}/.DS_Store": b"x"}
        | {f"__MACOSX/{name}": b"x" for name in members}
    ),
    "windows": lambda members: (
        {name.replace("/", "\\"): data for name, data in members.items()} | {"Thumbs.db": b"x"}
    ),
    "dots": lambda members: {f"./{name}": data for name, data in members.items()},
    "one more folder": lambda members: {f"my data/{name}": data for name, data in members.items()},
}


@pytest.mark.parametrize("case", REPACKED)
def test_repacked_archives_hold_the_same_images(case, tiny, tmp_path):
    small.write_zip(tmp_path / ZIP, REPACKED[case](small.omniglot_members("images_background")))
    small.write_tar(tmp_path / TAR, REPACKED[case](small.cifar_members()))
    for name, read in READERS.items():
        assert_same(read(tmp_path / name), read(tmp_path / "archives" / name))


def extracted(path, members):
    for name, data in members.items():
        file = path.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (path / ".DS_Store").touch()
    (path / "Thumbs.db").touch()


FORMS = {
    "": extracted,
    ".zip": small.write_zip,
    ".tgz": small.write_tar,
    ".tar": lambda path, members: small.write_tar(path, members, mode="w"),
}


@pytest.mark.parametrize("form", FORMS)
def test_archives_may_be_zip_tar_or_folder(form, tiny, tmp_path):
    for dataset, members in (
        (tiny["omniglot"], small.omniglot_members("images_background")),
        (tiny["cifar_fs"], small.cifar_members()),
    ):
        archive = dataset.archives[0]
        FORMS[form](tmp_path / (archives.stem(archive.name) + form), members)
        path = archives.find(tmp_path, archive)
        with pytest.raises(DataError, match="--accept_other_archives"):
            archives.verify(path, archive, accept_other=False)
        assert len(archives.verify(path, archive, accept_other=True)) == 64
        assert_same(dataset.read(path), dataset.read(tmp_path / "archives" / archive.name))


def assert_same(found, expected):
    """Whether two archives yield the same images, in whatever order."""
    found, expected = (sorted(rows, key=lambda row: row[:2]) for rows in (found, expected))
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a[2], b[2])


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
        (
            rename("images_background", "images_evaluation"),
            "is not in images_background/: is it misnamed",
        ),
        (drop("_01.png"), "has 2 drawings, not 3"),
        (drop("Futurama"), "(2, 1) characters and alphabets, not (5, 2)"),
        (replace_first(small.png(side=64)), "has 64 x 64 pixels, not 105 x 105"),
        (replace_first(b"no image"), "is not an image"),
    ],
)
def test_archives_of_other_content_are_refused_omniglot(change, message, tiny, tmp_path):
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
        (
            put("cifar-100-python/train", pickle.dumps({})),
            "'cifar-100-python/train', which is not in cifar-100-binary/",
        ),
    ],
)
def test_archives_of_other_content_are_refused_cifar(change, message, tiny, tmp_path):
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


def test_links_are_refused(tiny, tmp_path):
    members = small.cifar_members()
    members.pop("cifar-100-binary/test.bin")
    path = tmp_path / "archives" / "cifar-100-binary.tar"
    small.write_tar(path, members, mode="w")
    (tmp_path / "archives" / TAR).unlink()
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("cifar-100-binary/test.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match=r"test.bin is a link or a device"):
        prepare(tiny["cifar_fs"], tmp_path / "archives", accept_other=True)


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
    """Overwritten or truncated anywhere, an archive gives a DataError or exactly its images."""
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


def encrypted(path):
    """Sets the flag of encryption in all headers of a zip."""
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(mark)
        while place >= 0:
            data[place + offset] |= 1
            place = data.find(mark, place + 4)
    path.write_bytes(data)


def folder_instead(path):
    path.unlink()
    path.mkdir()


def twice(path):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[0], b"other")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (encrypted, "cannot be read as .* is encrypted"),
        (lambda path: path.write_bytes(b""), "cannot be read as"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html>" * 99), "cannot be read as"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be read as"),
        (folder_instead, r"holds \(0, 0\) characters and alphabets"),
        (twice, "twice"),
    ],
)
def test_unreadable_archives_are_named(damage, message, tiny, tmp_path):
    damage(tmp_path / "archives" / ZIP)
    with pytest.raises(DataError, match=rf"{ZIP}.*{message}"):
        prepare(tiny["omniglot"], tmp_path / "archives", accept_other=True)
    assert left_behind(tmp_path) == []


def test_the_archives_have_to_be_in_a_folder(tiny, tmp_path):
    for place in (tmp_path / "archives" / ZIP, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=rf"{place} is not a folder: it should hold {ZIP}"):
            prepare(tiny["omniglot"], place, accept_other=True)
