"""The data sets as TFDS data sets, which need no TensorFlow.

Each holds every image once, in one TFDS split `images`, with the name of its class; few-shot splits
are lists of classes (`plasticity.data.store.Split`). Archives come from TFDS's `manual_dir`.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from plasticity.data import archives
from plasticity.data.store import Dataset


class ImageArchives(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """All images of the archives of a data set, as they are stored there."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "the program prepare_data puts the archives there"
    pkg_dir_path = None  # no folder with metadata of TFDS's own

    def __init__(self, dataset: Dataset, **options: Any):
        """`options`: of `tfds.core.DatasetBuilder`."""
        self.name, self.dataset = dataset.name, dataset
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        shape, text = self.dataset.source_shape, tfds.features.Text()
        # TFDS needs TensorFlow to encode a feature `Image`, but not for a `Tensor`.
        image = tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="zlib")
        features = {"image": image, "class_name": text, "source": text}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {"images": self._generate_examples(pathlib.Path(dl_manager.manual_dir))}

    def _generate_examples(self, directory: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
        for archive in self.dataset.archives:
            for name, source, image in self.dataset.read(archives.find(directory, archive)):
                source = f"{archive.name}:{source}"
                example = {"image": image, "class_name": name, "source": source}
                yield f"{name}/{source}", example
