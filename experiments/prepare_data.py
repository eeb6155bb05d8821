r"""Downloads and prepares the images of a data set.

python -m experiments.prepare_data --dataset=omniglot|cifar_fs [--archives=DIR] \
    [--accept_other_archives]

Archives are downloaded, or read from DIR: as published or, with --accept_other_archives, as a zip,
a tar or an extracted folder. Prepared data are stored under PLASTICITY_DATA_DIR (default: the
user's cache directory), and a second call reuses them.
"""

from absl import flags

from plasticity.data import DATASETS
from plasticity.experiments import cli
from plasticity.experiments.data.prepare import counts, prepare

DATASET = flags.DEFINE_enum("dataset", None, list(DATASETS), "data set to prepare")
ARCHIVES = flags.DEFINE_string(
    "archives", None, "folder with the archives; default: they are downloaded"
)
ACCEPT = flags.DEFINE_bool(
    "accept_other_archives",
    False,
    "accept archives whose checksums are not the published ones; recorded with the data",
)


def main() -> int:
    """Prepares the data set and prints its classes and images by split."""
    cli.require(dataset=DATASET.value)
    dataset = DATASETS[DATASET.value]
    directory = cli.local_path("archives", ARCHIVES.value) if ARCHIVES.value else None
    print(f"{dataset.name}: reading the archives, which takes a minute or two", flush=True)
    folder, reused = prepare(dataset, directory, ACCEPT.value)
    print(f"{dataset.name}: {dataset.classes} classes, {dataset.per_class} images each")
    for scheme, splits in counts(dataset).items():
        parts = (f"{name} {c} classes, {n} images" for name, (c, n) in splits.items())
        print(f"  {scheme}: {'; '.join(parts)}")
    print(f"{'reused' if reused else 'prepared'}: {folder}")
    return 0


if __name__ == "__main__":
    cli.run(main)
