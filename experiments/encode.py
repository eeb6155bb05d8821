r"""Features of all images of a data set, by an encoder that is trained: what `task.features` reads.

python -m experiments.encode --workdir=ENCODER [--out=FILE.npz]

Written: features [classes, rotations (4, or 1 where a class is not rotated), images per class, F]
float32, and of which images, by name and checksum. Any encoder will do: a workdir of
configs/encoder.py, or of a few-shot task that was trained end to end.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments import cli
from experiments.run.evaluate import trained_parameters
from experiments.run.workdir import Workdir
from experiments.validate import ConfigError, validate
from plasticity.data import DATASETS, load
from plasticity.data.store import ROTATIONS, splits
from plasticity.model import EncoderSettings
from plasticity.model.conv4 import Conv4
from plasticity.sharding import Layout, replicate, split_over_devices
from plasticity.tasks.augment import rotate, standardise

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the encoder's run")
OUT = flags.DEFINE_string("out", None, "default: features.npz in the workdir; never overwritten")
BATCH = 256


def main() -> int:
    """Encodes the images and prints where the features are."""
    cli.require(workdir=WORKDIR.value)
    workdir = Workdir(WORKDIR.value)
    config = ConfigDict(workdir.load_config())
    validate(config)
    if "dataset" not in config.task or config.task.features:
        raise ConfigError(f"--workdir={workdir.path} holds no run that encodes images")
    out = cli.new_path("out", OUT.value or str(workdir.path / "features.npz"))
    described = DATASETS[config.task.dataset]
    images = load(described)
    parts = splits(described, config.task.split, images.classes)
    turns = ROTATIONS if any(split.rotations for split in parts.values()) else 1
    step, params = trained_parameters(config, workdir)
    slow = params.slow["params"]
    encoder = slow.get("see", slow)["encoder"]  # of a network that sees, or of an encoder alone
    found = encode(config, encoder, np.asarray(images.images), turns)
    with out.open("xb") as file:
        np.savez(file, features=found, dataset=described.name, checksum=images.checksum)
    print(f"features of step {step}, {list(found.shape)}: {out}")
    print(f"to use them: --config.task.features={out}")
    return 0


def encode(config: ConfigDict, encoder: dict, images: np.ndarray, turns: int) -> np.ndarray:
    """Features [classes, turns, per class, F] of images [classes, per class, H, W, channels]."""
    module = Conv4(EncoderSettings(**config.encoder))
    described = DATASETS[config.task.dataset]
    mesh = Layout().mesh(BATCH)

    def run(index: jax.Array, encoder: dict, images: jax.Array) -> jax.Array:
        kind, turn, row = jnp.unravel_index(index, (images.shape[0], turns, images.shape[1]))
        pixels = jax.vmap(rotate)(images[kind, row].astype(jnp.float32) / 255, turn)
        return module.apply({"params": encoder}, standardise(pixels, described))

    whole = jax.jit(split_over_devices(run, mesh))
    encoder, images_there = replicate((encoder, images), mesh)
    count = images.shape[0] * turns * images.shape[1]
    batches = [jnp.arange(first, first + BATCH) for first in range(0, count, BATCH)]
    parts = [whole(jnp.minimum(index, count - 1), encoder, images_there) for index in batches]
    features = np.concatenate(parts)[:count]
    return features.reshape(images.shape[0], turns, images.shape[1], -1)


if __name__ == "__main__":
    cli.run(main)
