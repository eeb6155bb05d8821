"""Archives, read in memory: nothing is ever extracted to disk.

An archive is a zip, a tar (compressed or not) or the extracted folder. Its content may lie in one
more folder, and names may start with "./". Files that operating systems add are skipped: those with
a name that starts with a dot, and those of `JUNK`.
"""

import hashlib
import lzma
import pathlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from plasticity.data.store import Archive, DataError

JUNK = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"}
FORMS = (".zip", ".tar", ".tar.gz", ".tgz", "")  # of an archive that is not as published
# What zipfile, tarfile and the file system raise. OSError includes gzip's; RuntimeError is what
# zipfile raises for encryption and unknown compression; OverflowError comes from wild sizes.
_OF_ZIP = (zipfile.BadZipFile, struct.error, RuntimeError, OverflowError, UnicodeError)
UNREADABLE = (*_OF_ZIP, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)


def find(directory: pathlib.Path, archive: Archive) -> pathlib.Path:
    """Returns the path of an archive: under its published name, else in another of `FORMS`.

    Raises:
      DataError: it is not in `directory`.
    """
    names = [archive.name, *(stem(archive.name) + form for form in FORMS)]
    for name in names:
        if (directory / name).exists():
            return directory / name
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder: it should hold {archive.name}")
    there = ", ".join(sorted(p.name for p in directory.iterdir())[:8])
    raise DataError(
        f"{directory / archive.name} does not exist; the folder holds {there or 'nothing'}. "
        f"Accepted are also {', '.join(names[1:-1])} and the extracted folder {names[-1]}. "
        f"The archive is published at {archive.url}"
    )


def verify(path: pathlib.Path, archive: Archive, accept_other: bool) -> str:
    """Returns the sha256 of an archive; of a folder, a hash of all names and contents.

    Raises:
      DataError: the archive cannot be read, or its checksum is not the published one although
        `accept_other` is False.
    """
    try:
        if path.is_dir():
            content = [(n, hashlib.sha256(b).hexdigest()) for n, b in sorted(read(path).items())]
            found = hashlib.sha256(repr(content).encode()).hexdigest()
        else:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error
    if found != archive.sha256 and not accept_other:
        raise DataError(
            f"{path} has sha256 {found[:12]}..., not {archive.sha256[:12]}... as published: it is "
            "damaged, truncated, repacked or another file. If you trust it, add "
            "--accept_other_archives, which is recorded with the prepared data"
        )
    return found


def read(path: pathlib.Path) -> dict[str, bytes]:
    """Returns {name relative to the archive's root folder: content} of all files of an archive.

    The root folder is named like the archive: "images_background" for images_background.zip.

    Raises:
      DataError: the archive cannot be read, or holds unsafe names, links, the same file twice, or
        files outside its root folder.
    """
    files: dict[str, bytes] = {}
    try:
        for member, content in _members(path):
            name = _relative(path, member)
            if name is None:
                continue
            if name in files:
                raise DataError(f"{path} holds {member!r} twice")
            files[name] = content
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    return files


def stem(name: str) -> str:
    """Returns "images_background" for images_background.zip, images_background.tar.gz and so on."""
    return name.split(".")[0]


def _members(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of every file; raises `UNREADABLE`, or DataError for a link."""
    if path.is_dir():
        for file in path.rglob("*"):
            if file.is_file():
                yield f"{stem(path.name)}/{file.relative_to(path).as_posix()}", file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield entry.filename, archive.read(entry)
    else:
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name, content.read()
                elif not member.isdir():
                    raise DataError(f"{path}: {member.name} is a link or a device, not a file")
            # tarfile stops at the last member; only at the end does gzip verify its checksum.
            while tar.fileobj is not None and tar.fileobj.read(2**20):
                pass


def _relative(path: pathlib.Path, member: str) -> str | None:
    """The name of a member relative to the root folder; None for files of operating systems."""
    name = pathlib.PurePosixPath(member.replace("\\", "/"))  # which drops "./"
    if name.is_absolute() or ".." in name.parts or ":" in member:
        raise DataError(f"{path} holds an unsafe path, {member!r}: this is not the archive")
    if any(part.startswith(".") or part in JUNK for part in name.parts):
        return None
    root = stem(path.name)
    if root not in name.parts[:2]:
        raise DataError(f"{path} holds {member!r}, which is not in {root}/: is it misnamed?")
    return "/".join(name.parts[name.parts.index(root) + 1 :])


def _unreadable(path: pathlib.Path, error: BaseException) -> DataError:
    cause = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
    if path.is_file() and not path.stat().st_size:
        cause = "it is empty"
    return DataError(
        f"{path} cannot be read as a zip, a tar or a folder: it is truncated, damaged or no "
        f"archive ({cause})"
    )
