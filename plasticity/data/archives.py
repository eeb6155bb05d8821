"""Reading archives, in memory and with every doubt voiced. Nothing is ever extracted to disk."""

import gzip
import hashlib
import io
import lzma
import pathlib
import re
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
from PIL import Image

from plasticity.data import cifar_fs, omniglot
from plasticity.data.store import Archive, DataError

MEMBER = re.compile(
    r"(?P<root>images_\w+)/(?P<alphabet>[^/]+)/(?P<character>character\d\d)/\S+\.png"
)
DRAWING_SIDE = 105
COARSE_CLASSES = 20
CIFAR_FOLDER = "cifar-100-binary"
PIXELS = cifar_fs.SIDE**2 * cifar_fs.CHANNELS
RECORD = 2 + PIXELS  # bytes: coarse label, fine label, planes of red, green and blue
# What zipfile and tarfile raise for damaged files: encryption, unknown methods, wild numbers too.
UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    OverflowError,
    UnicodeError,
)


def checksum(path: pathlib.Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(directory: pathlib.Path, archive: Archive) -> pathlib.Path:
    """The archive in a folder of archives.

    Raises:
      DataError: it is not there.
    """
    path = directory / archive.name
    if not path.is_file():
        there = sorted(p.name for p in directory.iterdir()) if directory.is_dir() else []
        raise DataError(
            f"{path} is not there; {directory} holds {', '.join(there[:8]) or 'nothing'}. "
            f"It is published at {archive.url}"
        )
    return path


def verify(path: pathlib.Path, archive: Archive, accept_other: bool) -> str:
    """The checksum of an archive, which has to be the official one unless others are accepted."""
    found = checksum(path)
    if found != archive.sha256 and not accept_other:
        raise DataError(
            f"{path} has sha256 {found[:12]}..., not {archive.sha256[:12]}... as published: it is "
            "damaged, cut off or another file. If you trust it (repacked, for instance), say "
            "--accept_other_archives; that is recorded with the data"
        )
    return found


def omniglot_drawings(path: pathlib.Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Reads images_background.zip or images_evaluation.zip.

    Yields:
      class name "ROOT/ALPHABET/characterNN", file name, drawing [105, 105, 1] uint8 with ink 255.
    """
    root = path.stem
    count: Counter[str] = Counter()
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.infolist(), key=lambda m: m.filename):
                if member.is_dir():
                    continue
                name = _omniglot_class(path, member.filename, root)
                count[name] += 1
                file = member.filename.rsplit("/", 1)[1]
                yield name, file, _drawing(path, member.filename, archive.read(member))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    wrong = {name: n for name, n in count.items() if n != omniglot.DRAWINGS}
    for name, n in wrong.items():
        raise DataError(f"{path}: {name} has {n} drawings, not {omniglot.DRAWINGS}")
    alphabets = {name.split("/")[1] for name in count}
    found, wanted = (
        (len(count), len(alphabets)),
        (omniglot.CHARACTERS[root], omniglot.ALPHABETS[root]),
    )
    if found != wanted:
        raise DataError(
            f"{path} holds {found[0]} characters of {found[1]} alphabets, not {wanted[0]} of "
            f"{wanted[1]}"
        )


def cifar_images(path: pathlib.Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Reads cifar-100-binary.tar.gz.

    Yields:
      class name, "FILE:RECORD", image [32, 32, 3] uint8.
    """
    try:
        _read_to_the_end(path)
        with tarfile.open(path, "r:gz") as archive:
            files = {m.name: m for m in archive.getmembers() if not m.isdir()}
            _check_cifar_members(path, files)
            names = _read(archive, files[f"{CIFAR_FOLDER}/fine_label_names.txt"]).decode()
            if tuple(names.split()) != cifar_fs.CLASSES:
                raise DataError(f"{path}: fine_label_names.txt does not name the 100 classes")
            for file, per_class in cifar_fs.RECORDS.items():
                data = _read(archive, files[f"{CIFAR_FOLDER}/{file}"])
                yield from _cifar_records(path, file, data, per_class)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _omniglot_class(path: pathlib.Path, member: str, root: str) -> str:
    parts = pathlib.PurePosixPath(member).parts
    if member.startswith(("/", "\\")) or ".." in parts or ":" in member or "\\" in member:
        raise DataError(f"{path} holds an unsafe path, {member!r}: this is not the archive")
    match = MEMBER.fullmatch(member)
    if match is None:
        raise DataError(f"{path} holds {member!r}, which does not belong to Omniglot")
    if match["root"] != root:
        raise DataError(f"{path} holds {match['root']}/, not {root}/: the archive is misnamed")
    return f"{root}/{match['alphabet']}/{match['character']}"


def _drawing(path: pathlib.Path, member: str, data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            drawing = np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {member} is not an image ({error})") from error
    if drawing.shape != (DRAWING_SIDE, DRAWING_SIDE):
        raise DataError(
            f"{path}: {member} has {drawing.shape[0]} x {drawing.shape[1]} pixels, not "
            f"{DRAWING_SIDE} x {DRAWING_SIDE}"
        )
    return (255 - drawing)[:, :, None]


def _check_cifar_members(path: pathlib.Path, files: dict[str, tarfile.TarInfo]) -> None:
    if any(name.startswith("cifar-100-python/") for name in files):
        raise DataError(f"{path} holds the pickled version of CIFAR-100; the binary one is read")
    wanted = {
        f"{CIFAR_FOLDER}/{file}"
        for file in (*cifar_fs.RECORDS, "fine_label_names.txt", "coarse_label_names.txt")
    }
    strange, missing = sorted(files.keys() - wanted), sorted(wanted - files.keys())
    if strange:
        raise DataError(f"{path} holds {strange[0]!r}, which does not belong to CIFAR-100")
    if missing:
        raise DataError(f"{path} lacks {missing[0]}")
    for name, member in files.items():
        if not member.isfile():
            raise DataError(f"{path}: {name} is a link or a device, not a file")


def _read_to_the_end(path: pathlib.Path) -> None:
    """Has gzip verify its checksum, which tarfile leaves unread: it stops at the last member."""
    with gzip.open(path) as file:
        while file.read(2**20):
            pass


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # a regular file, as was checked
    return file.read()


def _cifar_records(
    path: pathlib.Path, file: str, data: bytes, per_class: int
) -> Iterator[tuple[str, str, np.ndarray]]:
    classes = len(cifar_fs.CLASSES)
    records, rest = divmod(len(data), RECORD)
    if rest or records != per_class * classes:
        raise DataError(
            f"{path}: {file} has {len(data)} bytes, not {per_class * classes} records of {RECORD}"
        )
    table = np.frombuffer(data, np.uint8).reshape(records, RECORD)
    coarse, fine = table[:, 0], table[:, 1]
    for kind, labels, most in (("coarse", coarse, COARSE_CLASSES), ("fine", fine, classes)):
        if labels.max() >= most:
            record = int(labels.argmax())
            raise DataError(
                f"{path}: {file}, record {record}: {kind} label {labels[record]} is out of range, "
                f"0 to {most - 1}"
            )
    counts = np.bincount(fine, minlength=classes)
    if (counts != per_class).any():
        odd = int((counts != per_class).argmax())
        raise DataError(
            f"{path}: {file} has {counts[odd]} images of {cifar_fs.CLASSES[odd]}, not {per_class}"
        )
    planes = table[:, 2:].reshape(records, cifar_fs.CHANNELS, cifar_fs.SIDE, cifar_fs.SIDE)
    for i in range(records):
        image = np.ascontiguousarray(planes[i].transpose(1, 2, 0))
        yield cifar_fs.CLASSES[fine[i]], f"{file}:{i:05}", image


def _unreadable(path: pathlib.Path, error: BaseException) -> DataError:
    return DataError(f"{path} cannot be read: cut off, corrupt, or not such an archive ({error})")
