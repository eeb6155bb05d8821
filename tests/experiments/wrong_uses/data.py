"""Wrong uses of prepare_data and encode, and of data and features by launch."""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from plasticity.configs import copying, encoder
from tests import archives, pools
from tests.experiments.wrong_uses.case import Case

DATA = {"PLASTICITY_DATA_DIR": "{tmp}/data"}
SHAPE = (pools.CLASSES, 4, pools.PER_CLASS, 8)


def small_archives(tmp: pathlib.Path) -> None:
    (tmp / "data").mkdir()
    archives.write_all(tmp)


def broken_archive(tmp: pathlib.Path) -> None:
    (tmp / "data").mkdir()
    for name in ("images_background.zip", "images_evaluation.zip"):
        (tmp / name).write_bytes(b"no archive")


def empty_archive(tmp: pathlib.Path) -> None:
    (tmp / "data").mkdir()
    (tmp / "cifar-100-binary.tgz").touch()


def a_file(tmp: pathlib.Path) -> None:
    (tmp / "data").touch()


def data(tmp: pathlib.Path) -> None:
    pools.write_omniglot(tmp / "data")


def truncated_data(tmp: pathlib.Path) -> None:
    data(tmp)
    with (tmp / "data" / "omniglot" / "small" / "images.npy").open("r+b") as file:
        file.truncate(3000)


def other_shape(tmp: pathlib.Path) -> None:
    data(tmp)
    np.save(tmp / "data" / "omniglot" / "small" / "images.npy", np.zeros((3, 20, 28, 28, 1), "u1"))


def garbage_manifest(tmp: pathlib.Path) -> None:
    data(tmp)
    (tmp / "data" / "omniglot" / "small" / "manifest.json").write_text("garbage")


def features(array: np.ndarray, checksum: str = "small"):
    def setup(tmp: pathlib.Path) -> None:
        data(tmp)
        np.savez(tmp / "f.npz", features=array, dataset="omniglot", checksum=checksum)

    return setup


def text_as_features(tmp: pathlib.Path) -> None:
    data(tmp)
    (tmp / "f.npz").write_text("# no features")


def run_of(config: ConfigDict):
    """A workdir that holds the config of a run and no checkpoint."""

    def setup(tmp: pathlib.Path) -> None:
        data(tmp)
        (tmp / "run" / "checkpoints").mkdir(parents=True)
        (tmp / "run" / "config.json").write_text(json.dumps(config.to_dict()))

    return setup


def small_encoder() -> ConfigDict:
    config = encoder.get_config("omniglot")
    config.task.ways = 3
    return config


def existing_features(tmp: pathlib.Path) -> None:
    run_of(small_encoder())(tmp)
    (tmp / "run" / "features.npz").touch()


def prepare(*args: str, says: str, setup=None, env=DATA) -> Case:
    return Case("prepare_data", args, says, setup=setup, env=env)


def launch(*args: str, says: str, setup=data) -> Case:
    flags = ("--config=configs/omniglot.py", "--workdir={tmp}/new", "--config.task.ways=3", *args)
    return Case("launch", flags, says, setup=setup, env=DATA)


def encode(*args: str, says: str, setup) -> Case:
    return Case("encode", ("--workdir={tmp}/run", *args), says, setup=setup, env=DATA)


OMNIGLOT_FLAG, ARCHIVES = "--dataset=omniglot", "--archives={tmp}"
ACCEPT, FEATURES = "--accept_other_archives", "--config.task.features={tmp}/f.npz"
NAN = np.full(SHAPE, np.nan, np.float32)
CASES = [
    prepare(says="--dataset is missing"),
    prepare("--dataset=omnigot", says="omnigot"),
    prepare("--dataset=", says="dataset"),
    prepare(OMNIGLOT_FLAG, ARCHIVES, says=r"images_background.zip does not exist; the folder"),
    prepare(
        OMNIGLOT_FLAG,
        "--archives={tmp}/nowhere",
        says=r"nowhere is not a folder: it should hold images_background.zip",
    ),
    prepare(
        OMNIGLOT_FLAG,
        "--archives={tmp}/images_background.zip",
        says=r"images_background.zip is not a folder",
        setup=small_archives,
    ),
    prepare(OMNIGLOT_FLAG, ARCHIVES, says="--accept_other_archives", setup=small_archives),
    prepare(
        OMNIGLOT_FLAG,
        ARCHIVES,
        ACCEPT,
        says=r"character01 has 3 drawings, not 20",
        setup=small_archives,
    ),
    prepare(
        "--dataset=cifar_fs",
        ARCHIVES,
        ACCEPT,
        says=r"train.bin has \d+ bytes, not 50000 records",
        setup=small_archives,
    ),
    prepare(
        OMNIGLOT_FLAG,
        ARCHIVES,
        ACCEPT,
        says=r"images_background.zip cannot be read as a zip, a tar or a folder",
        setup=broken_archive,
    ),
    prepare(
        "--dataset=cifar_fs",
        ARCHIVES,
        ACCEPT,
        says=r"cifar-100-binary.tgz cannot be read .*empty",
        setup=empty_archive,
    ),
    prepare(
        "--dataset=cifar_fs", says=r"PLASTICITY_DATA_DIR=.*data cannot be written", setup=a_file
    ),
    prepare(
        "--dataset=cifar_fs",
        says=r"PLASTICITY_DATA_DIR=/proc/x cannot be written",
        env={"PLASTICITY_DATA_DIR": "/proc/x"},
    ),
    launch(says=r"not prepared .*experiments.prepare_data --dataset=omniglot", setup=None),
    launch(says=r"images.npy is damaged .*Remove the folder .*small", setup=truncated_data),
    launch(says=r"images.npy is damaged .*\(3, 20, 28, 28, 1\), not uint8", setup=other_shape),
    launch(says=r"manifest.json is damaged .*Remove the folder", setup=garbage_manifest),
    launch(FEATURES, says=r"f.npz' is not a file of features .*No such file"),
    launch("--config.task.features={tmp}", says=r"is not a file of features .*Is a directory"),
    launch(FEATURES, says=r"f.npz' is not a file of features", setup=text_as_features),
    launch(FEATURES, says=r"'features' is nan at \[0, 0, 0, 0\]", setup=features(NAN)),
    launch(FEATURES, says=r"features are the same", setup=features(np.ones(SHAPE, np.float32))),
    launch(FEATURES, says=r"is of type <U3", setup=features(np.full(SHAPE, "abc"))),
    launch(
        FEATURES,
        says=r"has \(3, 4, 20\) .* needs \(10, 4, 20\)",
        setup=features(np.zeros((3, *SHAPE[1:]), np.float32)),
    ),
    launch(
        FEATURES,
        says=r"was made from omniglot old, but the prepared images are omniglot small",
        setup=features(np.zeros(SHAPE, np.float32), checksum="old"),
    ),
    Case("encode", (), "--workdir is missing"),
    Case("encode", ("--workdir={tmp}/nowhere",), "nowhere holds no run"),
    encode(says=r"the task 'copying', which has no encoder", setup=run_of(copying.get_config())),
    encode(says=r"holds no checkpoint", setup=run_of(small_encoder())),
    encode(says=r"features.npz exists, and nothing is overwritten", setup=existing_features),
    encode("--config=configs/encoder.py", says="--config", setup=run_of(small_encoder())),
]
