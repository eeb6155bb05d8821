r"""Encodes all images of a data set by a trained encoder, into a file for `task.features`.

python -m experiments.encode --workdir=ENCODER [--out=FILE.npz]

The file holds `features` [classes, rotations (4, or 1 if the split has none), images per class, F]
float32, and `dataset` and `checksum` of the images. ENCODER is the workdir of any run that trained
on images: of configs/encoder.py, or of a few-shot task end to end.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from plasticity.data import DATASETS, load
from plasticity.data.store import ROTATIONS, splits
from plasticity.experiments import build, cli
from plasticity.experiments.run.evaluate import trained_parameters
from plasticity.experiments.run.storage import TEMPORARY
from plasticity.experiments.run.warm_start import encoder_of
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError
from plasticity.model import EncoderSettings
from plasticity.model.conv4 import Conv4
from plasticity.sharding import Layout, replicate, split_over_devices
from plasticity.tasks.augment import rotate, standardise

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the encoder's run")
OUT = flags.DEFINE_string("out", None, "new file; default: features.npz in the workdir")
BATCH = 256


def main() -> int:
    """Encodes, and prints the path of the features."""
    cli.require(workdir=WORKDIR.value)
    workdir = Workdir(WORKDIR.value)
    config = workdir.trained_config()
    few_shot = config.task.name == "few_shot"
    if not few_shot or config.task.features:
        inputs = "features" if few_shot else f"the task {config.task.name!r}"
        raise ConfigError(
            f"--workdir={workdir.path} holds a run on {inputs}, which has no encoder of images: "
            "give the workdir of a run of --config=encoder"
        )
    out = cli.new_path("out", OUT.value or str(workdir.path / "features.npz"))
    described = DATASETS[config.task.dataset]
    images = load(described)
    parts = splits(described, config.task.split, images.classes)
    turns = ROTATIONS if any(split.rotations for split in parts.values()) else 1
    step, params = trained_parameters(config, workdir)
    found = encode(config, encoder_of(params), np.asarray(images.images), turns)
    partial = out.with_name(f"{TEMPORARY}{out.name}")
    try:
        with partial.open("wb") as file:
            np.savez(file, features=found, dataset=described.name, checksum=images.checksum)
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)  # a file that is not whole would block the next call
    print(f"features of step {step}, {list(found.shape)}: {out}")
    print(f"to use them: --config.task.features={out}")
    return 0


def encode(config: ConfigDict, encoder: dict, images: np.ndarray, turns: int) -> np.ndarray:
    """Returns features [classes, turns, per class, F] of images [classes, per class, H, W, C]."""
    module = Conv4(build.read(config, EncoderSettings))
    described = DATASETS[config.task.dataset]
    mesh = Layout().mesh(BATCH)

    def run(index: jax.Array, encoder: dict, images: jax.Array) -> jax.Array:
        kind, turn, row = jnp.unravel_index(index, (images.shape[0], turns, images.shape[1]))
        pixels = jax.vmap(rotate)(images[kind, row].astype(jnp.float32) / 255, turn)
        return module.apply({"params": encoder}, standardise(pixels, described))

    whole = jax.jit(split_over_devices(run, mesh))
    encoder, on_device = replicate((encoder, images), mesh)
    count = images.shape[0] * turns * images.shape[1]
    batches = [jnp.arange(first, first + BATCH) for first in range(0, count, BATCH)]
    parts = [whole(jnp.minimum(index, count - 1), encoder, on_device) for index in batches]
    features = np.concatenate(parts)[:count]
    return features.reshape(images.shape[0], turns, images.shape[1], -1)


if __name__ == "__main__":
    cli.run(main)
