"""Omniglot: 1,623 characters of 50 alphabets, drawn by 20 people each (Lake et al. 2015).

Images are 28 x 28, ink 255 on 0, as Vinyals et al. 2016 use them.
"""

from collections.abc import Sequence

from plasticity.data.store import Archive, Dataset, Split

URL = "https://github.com/brendenlake/omniglot/raw/master/python/{}"
ARCHIVES = (
    Archive(
        "images_background.zip",
        URL.format("images_background.zip"),
        "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
    ),
    Archive(
        "images_evaluation.zip",
        URL.format("images_evaluation.zip"),
        "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
    ),
)
CHARACTERS = {"images_background": 964, "images_evaluation": 659}
ALPHABETS = {"images_background": 30, "images_evaluation": 20}
DRAWINGS = 20
SIDE = 28

# The split of Vinyals et al. 2016 as used since Snell et al. 2017, by alphabet; what is in neither
# list is for training. Of Gurmukhi, characters up to 41 are for training, the others for the test.
VALIDATION_ALPHABETS = {"Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)"}
TEST_ALPHABETS = {
    "Kannada",
    "Keble",
    "Malayalam",
    "Manipuri",
    "Mongolian",
    "Old_Church_Slavonic_(Cyrillic)",
    "Oriya",
    "Sylheti",
    "Syriac_(Serto)",
    "Tengwar",
    "Tibetan",
    "ULOG",
}
DIVIDED, LAST_FOR_TRAINING = "Gurmukhi", "character41"


def vinyals(classes: Sequence[str]) -> dict[str, Split]:
    """4,112 / 688 / 1,692 classes, rotations counted: by alphabet but for one, which is divided."""
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for name in classes:
        _, alphabet, character = name.split("/")
        held_out = alphabet == DIVIDED and character > LAST_FOR_TRAINING
        if alphabet in TEST_ALPHABETS or held_out:
            parts["test"].append(name)
        else:
            parts["validation" if alphabet in VALIDATION_ALPHABETS else "train"].append(name)
    return {part: Split(names, rotations=True) for part, names in parts.items()}


def alphabets(classes: Sequence[str]) -> dict[str, Split]:
    """Lake's own: background alphabets to learn from, evaluation alphabets for the test.

    The five background alphabets that validate in the other scheme do so here. No rotations.
    """
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for name in classes:
        root, alphabet, _ = name.split("/")
        learned = "validation" if alphabet in VALIDATION_ALPHABETS else "train"
        parts["test" if root == "images_evaluation" else learned].append(name)
    return {part: Split(names) for part, names in parts.items()}


OMNIGLOT = Dataset(
    name="omniglot",
    archives=ARCHIVES,
    class_names=None,
    classes=sum(CHARACTERS.values()),
    per_class=DRAWINGS,
    shape=(SIDE, SIDE, 1),
    mean=(0.0,),  # no ink is nothing
    deviation=(1.0,),
    preprocessing="ink 255, 28 x 28, box filter, 1",
    schemes={"vinyals": vinyals, "alphabets": alphabets},
)
