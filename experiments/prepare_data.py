r"""Downloads and prepares the images of a data set.

python -m experiments.prepare_data --dataset=omniglot|cifar_fs [--archives=DIR] \
    [--accept_other_archives]

Prepared data lie under PLASTICITY_DATA_DIR (default: the user's cache directory). Once they are
there, a second call reuses them.
"""

from absl import flags

from experiments import cli
from plasticity.data import DATASETS
from plasticity.data.prepare import counts, prepare

DATASET = flags.DEFINE_enum("dataset", None, list(DATASETS), "what to prepare")
ARCHIVES = flags.DEFINE_string("archives", None, "folder with the archives, if you have them")
ACCEPT = flags.DEFINE_bool(
    "accept_other_archives",
    False,
    "take archives whose checksums are not the published ones; recorded with the data",
)


def main() -> int:
    """Prepares, and prints what is there."""
    cli.require(dataset=DATASET.value)
    dataset = DATASETS[DATASET.value]
    directory = cli.local_path("archives", ARCHIVES.value) if ARCHIVES.value else None
    folder, reused = prepare(dataset, directory, ACCEPT.value)
    print(f"{dataset.name}: {dataset.classes} classes, {dataset.per_class} images each")
    for scheme, splits in counts(dataset).items():
        parts = (f"{name} {c} classes, {n} images" for name, (c, n) in splits.items())
        print(f"  {scheme}: {'; '.join(parts)}")
    print(f"{'reused' if reused else 'prepared'}: {folder}")
    return 0


if __name__ == "__main__":
    cli.run(main)
