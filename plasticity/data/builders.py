"""TFDS data sets of our own, which need no TensorFlow: `omniglot_few_shot` and `cifar_fs`.

Each holds every image once, in one TFDS split `images`, with the name of its class; few-shot splits
are lists of classes (`plasticity.data.store.Split`). Archives come from `manual_dir`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from plasticity.data import archives
from plasticity.data.cifar_fs import CIFAR_FS
from plasticity.data.omniglot import OMNIGLOT


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """What both have in common."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "python -m experiments.prepare_data puts the archives there."
    DATASET: Any
    SHAPE: tuple[int, int, int]
    pkg_dir_path = None  # no folder with metadata of TFDS's own

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                # TFDS encodes images by TensorFlow; tensors it can without.
                "image": tfds.features.Tensor(shape=self.SHAPE, dtype=np.uint8, encoding="zlib"),
                "class_name": tfds.features.Text(),
                "source": tfds.features.Text(),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {"images": self._generate_examples(dl_manager.manual_dir)}

    def _generate_examples(self, directory: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for archive in self.DATASET.archives:
            path = archives.find(directory, archive)
            for name, source, image in self.read(path):
                yield (
                    f"{name}/{source}",
                    {"image": image, "class_name": name, "source": f"{archive.name}:{source}"},
                )

    def read(self, path: Any) -> Iterator[tuple[str, str, np.ndarray]]:
        """Class name, name in the archive and pixels of every image."""
        raise NotImplementedError


class OmniglotFewShot(_Builder):
    """Omniglot at its own 105 x 105 pixels, ink 255."""

    DATASET = OMNIGLOT
    SHAPE = (archives.DRAWING_SIDE, archives.DRAWING_SIDE, 1)
    name = "omniglot_few_shot"

    def read(self, path: Any) -> Iterator[tuple[str, str, np.ndarray]]:
        """See `_Builder`."""
        return archives.omniglot_drawings(path)


class CifarFs(_Builder):
    """CIFAR-100, both of its parts together."""

    DATASET = CIFAR_FS
    SHAPE = CIFAR_FS.shape
    name = "cifar_fs"

    def read(self, path: Any) -> Iterator[tuple[str, str, np.ndarray]]:
        """See `_Builder`."""
        return archives.cifar_images(path)


BUILDERS = {"omniglot": OmniglotFewShot, "cifar_fs": CifarFs}
