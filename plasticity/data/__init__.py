"""Image data: archives -> a TFDS dataset -> arrays of uint8 that stay on the device.

`DATASETS`: {name: Dataset}. A data set is one file here (what it is, its splits), one file for its
builder, and one line below.
"""

from plasticity.data.cifar_fs import CIFAR_FS
from plasticity.data.omniglot import OMNIGLOT
from plasticity.data.store import DataError, Dataset, Images, Split, load

DATASETS = {"omniglot": OMNIGLOT, "cifar_fs": CIFAR_FS}

__all__ = ["CIFAR_FS", "DATASETS", "OMNIGLOT", "DataError", "Dataset", "Images", "Split", "load"]
