"""Image data: archives -> a TFDS data set -> arrays of uint8.

`DATASETS`: {name: Dataset}. A data set is one module here, which describes it, reads its archives
and lists its splits, and one line below.
"""

from plasticity.data.cifar_fs import CIFAR_FS
from plasticity.data.omniglot import OMNIGLOT
from plasticity.data.store import DataError, Dataset, Images, Split, load

DATASETS = {"omniglot": OMNIGLOT, "cifar_fs": CIFAR_FS}

__all__ = ["CIFAR_FS", "DATASETS", "OMNIGLOT", "DataError", "Dataset", "Images", "Split", "load"]
