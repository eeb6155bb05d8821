"""Small archives in the layout of the published ones, and data sets of their size."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image

from plasticity.data import CIFAR_FS, OMNIGLOT, cifar_fs, omniglot

DRAWINGS = 3
# {alphabet: characters}; every split of every scheme has one.
ALPHABETS = {
    "images_background": {"Armenian": 2, "Futurama": 3},
    "images_evaluation": {"Angelic": 2, "Gurmukhi": 1, "Tengwar": 4},
}
RECORDS = {"train.bin": 3, "test.bin": 2}


def shrink(monkeypatch):
    """Makes the library expect the small archives; returns {name: data set}."""
    characters = {root: sum(a.values()) for root, a in ALPHABETS.items()}
    monkeypatch.setattr(omniglot, "DRAWINGS", DRAWINGS)
    monkeypatch.setattr(omniglot, "CHARACTERS", characters)
    monkeypatch.setattr(omniglot, "ALPHABETS", {r: len(a) for r, a in ALPHABETS.items()})
    monkeypatch.setattr(cifar_fs, "RECORDS", RECORDS)
    return {
        "omniglot": OMNIGLOT._replace(classes=sum(characters.values()), per_class=DRAWINGS),
        "cifar_fs": CIFAR_FS._replace(per_class=sum(RECORDS.values())),
    }


def png(seed=0, side=105):
    """A drawing: 1 bit, ink black on white."""
    pixels = np.random.default_rng(seed).random((side, side)) > 0.1
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def omniglot_members(root):
    """{member: bytes} of a small archive."""
    members, seed = {}, 0
    for alphabet, characters in ALPHABETS[root].items():
        for character in range(1, characters + 1):
            for drawing in range(1, DRAWINGS + 1):
                seed += 1
                name = f"{root}/{alphabet}/character{character:02}/{seed:04}_{drawing:02}.png"
                members[name] = png(seed)
    return members


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def cifar_table(per_class, seed):
    """Records [N, 3074]: labels in a shuffled order, and pixels."""
    rng = np.random.default_rng(seed)
    fine = rng.permutation(np.repeat(np.arange(100, dtype=np.uint8), per_class))
    pixels = rng.integers(0, 256, (len(fine), 3072), dtype=np.uint8)
    return np.concatenate([fine[:, None] // 5, fine[:, None], pixels], axis=1)


def cifar_members():
    """{member: bytes} of a small archive."""
    names = "\n".join(cifar_fs.CLASSES).encode()
    members = {
        f"cifar-100-binary/{file}": cifar_table(per_class, seed).tobytes()
        for seed, (file, per_class) in enumerate(RECORDS.items())
    }
    labels = {"fine_label_names.txt": names, "coarse_label_names.txt": b"any\n"}
    return members | {f"cifar-100-binary/{name}": text for name, text in labels.items()}


def write_tar(path, members, mode="w:gz"):
    options = {"compresslevel": 1} if mode == "w:gz" else {}
    with tarfile.open(path, mode, **options) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_all(directory):
    """Writes all three archives."""
    directory.mkdir(exist_ok=True)
    for root in ALPHABETS:
        write_zip(directory / f"{root}.zip", omniglot_members(root))
    write_tar(directory / "cifar-100-binary.tar.gz", cifar_members())
    return directory


def left_behind(tmp_path):
    """Files in the data directory of the fixture `tiny`."""
    return [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
