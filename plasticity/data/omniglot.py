"""Omniglot: 1,623 characters of 50 alphabets, drawn by 20 people each (Lake et al. 2015).

Prepared images are 28 x 28, ink 255 on 0, as in Vinyals et al. 2016.
"""

import io
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from plasticity.data import archives
from plasticity.data.store import Archive, DataError, Dataset, Split

URL = "https://github.com/brendenlake/omniglot/raw/master/python/"
SHA256 = {
    "images_background.zip": "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
    "images_evaluation.zip": "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
}
CHARACTERS = {"images_background": 964, "images_evaluation": 659}
ALPHABETS = {"images_background": 30, "images_evaluation": 20}
DRAWINGS = 20
SOURCE_SIDE, SIDE = 105, 28
MEMBER = re.compile(r"([^/]+/character\d\d)/([^/\s]+\.png)")

# The split of Vinyals et al. 2016 as used since Snell et al. 2017, by alphabet. All other alphabets
# are for training; of Gurmukhi, characters up to 41 are for training, the rest for the test.
VALIDATION_ALPHABETS = {"Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)"}
TEST_ALPHABETS = """Kannada Keble Malayalam Manipuri Mongolian Old_Church_Slavonic_(Cyrillic) Oriya
Sylheti Syriac_(Serto) Tengwar Tibetan ULOG""".split()  # noqa: SIM905
DIVIDED, LAST_FOR_TRAINING = "Gurmukhi", "character41"


def vinyals(classes: Sequence[str]) -> dict[str, Split]:
    """4,112 / 688 / 1,692 classes, rotations counted; one alphabet is divided, all others whole."""

    def in_test(name: str) -> bool:
        _, alphabet, character = name.split("/")
        return alphabet in TEST_ALPHABETS or (alphabet == DIVIDED and character > LAST_FOR_TRAINING)

    return _divided(classes, in_test, rotations=True)


def alphabets(classes: Sequence[str]) -> dict[str, Split]:
    """Lake et al. 2015: background alphabets for training, evaluation alphabets for the test.

    Validation: the same five background alphabets as in `vinyals`. No rotations.
    """
    return _divided(classes, lambda name: name.startswith("images_evaluation/"), rotations=False)


def _divided(
    classes: Sequence[str], in_test: Callable[[str], bool], rotations: bool
) -> dict[str, Split]:
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for name in classes:
        _, alphabet, _ = name.split("/")
        learned = "validation" if alphabet in VALIDATION_ALPHABETS else "train"
        parts["test" if in_test(name) else learned].append(name)
    return {part: Split(names, rotations) for part, names in parts.items()}


def by_alphabet(classes: Sequence[str]) -> list[list[str]]:
    """The characters of each alphabet, in alphabetical order, background alphabets first."""
    found: dict[str, list[str]] = {}
    for name in sorted(classes):
        found.setdefault(name.rpartition("/")[0], []).append(name)
    return list(found.values())


def drawings(path: pathlib.Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Reads images_background.zip or images_evaluation.zip.

    Yields:
      class name "ROOT/ALPHABET/characterNN", file name, drawing [105, 105, 1] uint8 with ink 255.

    Raises:
      DataError: the archive is not readable or does not hold exactly the drawings of Omniglot.
    """
    root = archives.stem(path.name)
    count: Counter[str] = Counter()
    for name, content in sorted(archives.read(path).items()):
        match = MEMBER.fullmatch(name)
        if match is None:
            raise DataError(f"{path} holds '{root}/{name}', which does not belong to Omniglot")
        character, file = match.groups()
        count[character] += 1
        yield f"{root}/{character}", file, _drawing(path, name, content)
    for character, n in count.items():
        if n != DRAWINGS:
            raise DataError(f"{path}: {root}/{character} has {n} drawings, not {DRAWINGS}")
    found = (len(count), len({character.split("/")[0] for character in count}))
    wanted = (CHARACTERS[root], ALPHABETS[root])
    if found != wanted:
        raise DataError(f"{path} holds {found} characters and alphabets, not {wanted}")


def _drawing(path: pathlib.Path, name: str, content: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            drawing = np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {name} is not an image ({error})") from error
    if drawing.shape != (SOURCE_SIDE, SOURCE_SIDE):
        side = f"{SOURCE_SIDE} x {SOURCE_SIDE}"
        raise DataError(
            f"{path}: {name} has {' x '.join(map(str, drawing.shape))} pixels, not {side}"
        )
    return (255 - drawing)[:, :, None]


OMNIGLOT = Dataset(
    name="omniglot",
    archives=tuple(Archive(name, URL + name, sha256) for name, sha256 in SHA256.items()),
    classes=sum(CHARACTERS.values()),
    per_class=DRAWINGS,
    source_shape=(SOURCE_SIDE, SOURCE_SIDE, 1),
    shape=(SIDE, SIDE, 1),
    read=drawings,
    mean=(0.0,),  # no ink stays 0
    deviation=(1.0,),
    preprocessing="ink 255, 28 x 28, box filter, 1",
    schemes={"vinyals": vinyals, "alphabets": alphabets},
    groups={"alphabets": by_alphabet},
)
