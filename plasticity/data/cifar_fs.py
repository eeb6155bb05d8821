"""CIFAR-FS: the 100 classes of CIFAR-100 (Krizhevsky 2009), 600 images each, as few-shot tasks.

Split of Bertinetto et al. 2019. The official training and test images of a class are joined.
"""

from collections.abc import Sequence

from plasticity.data.store import Archive, Dataset, Split

ARCHIVES = (
    Archive(
        "cifar-100-binary.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
)
TRAIN = """apple aquarium_fish bear bee bottle bowl boy bridge bus can castle caterpillar chair
clock cloud cockroach couch cup dinosaur dolphin elephant forest girl hamster house kangaroo
keyboard lawn_mower lion lizard lobster mountain mouse mushroom oak_tree orange orchid palm_tree
pear pine_tree plate porcupine possum rabbit raccoon ray road seal shrew skunk skyscraper snake
spider squirrel streetcar sunflower tank tiger train trout tulip turtle willow_tree wolf""".split()  # noqa: SIM905
VALIDATION = """beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree
motorcycle otter sea shark television tractor""".split()  # noqa: SIM905
TEST = """baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail
sweet_pepper table telephone wardrobe whale woman worm""".split()  # noqa: SIM905
# Labels of the archive count through the names in alphabetical order.
CLASSES = tuple(sorted([*TRAIN, *VALIDATION, *TEST]))
RECORDS = {"train.bin": 500, "test.bin": 100}  # images per class
SIDE, CHANNELS = 32, 3


def bertinetto(classes: Sequence[str]) -> dict[str, Split]:
    """64 / 16 / 20 classes."""
    del classes
    return {"train": Split(TRAIN), "validation": Split(VALIDATION), "test": Split(TEST)}


def same_classes(classes: Sequence[str]) -> dict[str, Split]:
    """All classes in every split: what the code published with Chaudhary 2025 does. Tests leak."""
    return dict.fromkeys(("train", "validation", "test"), Split(classes))


CIFAR_FS = Dataset(
    name="cifar_fs",
    archives=ARCHIVES,
    class_names=CLASSES,
    classes=len(CLASSES),
    per_class=sum(RECORDS.values()),
    shape=(SIDE, SIDE, CHANNELS),
    mean=(0.507, 0.487, 0.441),
    deviation=(0.267, 0.256, 0.276),
    preprocessing="none, 1",
    schemes={"bertinetto": bertinetto, "same_classes": same_classes},
)
