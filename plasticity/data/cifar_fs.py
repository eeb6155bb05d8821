"""CIFAR-FS: the 100 classes of CIFAR-100 (Krizhevsky 2009), 600 images each, as few-shot tasks.

Split of Bertinetto et al. 2019. The official training and test images of a class are joined.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from plasticity.data import archives
from plasticity.data.store import Archive, DataError, Dataset, Split

NAME = "cifar-100-binary.tar.gz"
SHA256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
TRAIN = """apple aquarium_fish bear bee bottle bowl boy bridge bus can castle caterpillar chair
clock cloud cockroach couch cup dinosaur dolphin elephant forest girl hamster house kangaroo
keyboard lawn_mower lion lizard lobster mountain mouse mushroom oak_tree orange orchid palm_tree
pear pine_tree plate porcupine possum rabbit raccoon ray road seal shrew skunk skyscraper snake
spider squirrel streetcar sunflower tank tiger train trout tulip turtle willow_tree wolf""".split()  # noqa: SIM905
VALIDATION = """beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree
motorcycle otter sea shark television tractor""".split()  # noqa: SIM905
TEST = """baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail
sweet_pepper table telephone wardrobe whale woman worm""".split()  # noqa: SIM905
# A label of the archive is the index of the class in alphabetical order.
CLASSES = tuple(sorted([*TRAIN, *VALIDATION, *TEST]))
SUPERCLASSES = """
beaver dolphin otter seal whale; aquarium_fish flatfish ray shark trout
orchid poppy rose sunflower tulip; bottle bowl can cup plate
apple mushroom orange pear sweet_pepper
clock keyboard lamp telephone television; bed chair couch table wardrobe
bee beetle butterfly caterpillar cockroach; bear leopard lion tiger wolf
bridge castle house road skyscraper; cloud forest mountain plain sea
camel cattle chimpanzee elephant kangaroo; fox porcupine possum raccoon skunk
crab lobster snail spider worm; baby boy girl man woman; crocodile dinosaur lizard snake turtle
hamster mouse rabbit shrew squirrel; maple_tree oak_tree palm_tree pine_tree willow_tree
bicycle bus motorcycle pickup_truck train; lawn_mower rocket streetcar tank tractor
"""
RECORDS = {"train.bin": 500, "test.bin": 100}  # images per class
LABEL_NAMES = ("fine_label_names.txt", "coarse_label_names.txt")
COARSE_CLASSES = 20
SIDE, CHANNELS = 32, 3
RECORD = 2 + SIDE**2 * CHANNELS  # bytes: coarse label, fine label, planes of red, green and blue


def bertinetto(classes: Sequence[str]) -> dict[str, Split]:
    """64 / 16 / 20 classes."""
    del classes
    return {"train": Split(TRAIN), "validation": Split(VALIDATION), "test": Split(TEST)}


def same_classes(classes: Sequence[str]) -> dict[str, Split]:
    """All classes in every split, as in the code of Chaudhary 2025: test classes are trained on."""
    return dict.fromkeys(("train", "validation", "test"), Split(classes))


def tens(classes: Sequence[str]) -> list[list[str]]:
    """Ten classes a task, in alphabetical order, which is that of their labels."""
    names = sorted(classes)
    return [names[first : first + 10] for first in range(0, len(names), 10)]


def superclasses(classes: Sequence[str]) -> list[list[str]]:
    """The five classes of each of the 20 superclasses, in the order of the coarse labels."""
    del classes
    return [group.split() for group in SUPERCLASSES.strip().replace("\n", ";").split(";")]


def images(path: pathlib.Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Reads cifar-100-binary.tar.gz.

    Yields:
      class name, "FILE:RECORD", image [32, 32, 3] uint8.

    Raises:
      DataError: the archive is not readable or does not hold exactly the images of CIFAR-100.
    """
    files, folder = archives.read(path), archives.stem(path.name)
    wanted = {*RECORDS, *LABEL_NAMES}
    strange, missing = sorted(files.keys() - wanted), sorted(wanted - files.keys())
    if strange:
        raise DataError(f"{path} holds '{folder}/{strange[0]}', which does not belong to CIFAR-100")
    if missing:
        raise DataError(f"{path} lacks {folder}/{missing[0]}")
    if tuple(files[LABEL_NAMES[0]].decode(errors="replace").split()) != CLASSES:
        raise DataError(f"{path}: {LABEL_NAMES[0]} does not name the 100 classes")
    for file, per_class in RECORDS.items():
        yield from _records(path, file, files[file], per_class)


def _records(
    path: pathlib.Path, file: str, data: bytes, per_class: int
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Class name, "FILE:RECORD" and image of every record of one file."""
    classes = len(CLASSES)
    records = per_class * classes
    if len(data) != records * RECORD:
        raise DataError(f"{path}: {file} has {len(data)} bytes, not {records} records of {RECORD}")
    table = np.frombuffer(data, np.uint8).reshape(records, RECORD)
    for column, kind, most in ((0, "coarse", COARSE_CLASSES), (1, "fine", classes)):
        record = int(table[:, column].argmax())
        if table[record, column] >= most:
            raise DataError(
                f"{path}: {file}, record {record}: {kind} label {table[record, column]} is out of "
                f"range, 0 to {most - 1}"
            )
    fine = table[:, 1]
    counts = np.bincount(fine, minlength=classes)
    odd = int((counts != per_class).argmax())
    if counts[odd] != per_class:
        raise DataError(
            f"{path}: {file} has {counts[odd]} images of {CLASSES[odd]}, not {per_class}"
        )
    planes = table[:, 2:].reshape(records, CHANNELS, SIDE, SIDE)
    for i in range(records):
        image = np.ascontiguousarray(planes[i].transpose(1, 2, 0))
        yield CLASSES[fine[i]], f"{file}:{i:05}", image


CIFAR_FS = Dataset(
    name="cifar_fs",
    archives=(Archive(NAME, f"https://www.cs.toronto.edu/~kriz/{NAME}", SHA256),),
    classes=len(CLASSES),
    per_class=sum(RECORDS.values()),
    source_shape=(SIDE, SIDE, CHANNELS),
    shape=(SIDE, SIDE, CHANNELS),
    read=images,
    mean=(0.507, 0.487, 0.441),
    deviation=(0.267, 0.256, 0.276),
    preprocessing="none, 1",
    schemes={"bertinetto": bertinetto, "same_classes": same_classes},
    groups={"tens": tens, "superclasses": superclasses},
)
