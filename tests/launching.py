"""Small runs of the launcher, for the tests that start, stop and read them."""

import json

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.run.evaluate import trained_state
from experiments.run.workdir import Workdir
from tests import programs

TINY = [
    "--config.task.seq_length=2",
    "--config.task.delay=1",
    "--config.task.vocabulary=4",
    "--config.model.width=8",
    "--config.model.feed_forward=8",
    "--config.model.heads=2",
    "--config.model.layers=1",
    "--config.train.batch=2",
    "--config.train.warmup=2",
    "--config.evaluate.episodes=10",
    "--config.evaluate.batch=4",
]
SHORT = [*TINY, "--config.train.steps=6", "--config.log.every=2", "--config.evaluate.every=4"]
LONG = [*TINY, "--config.train.steps=120", "--config.checkpoint.every=5"]
LONG += ["--config.evaluate.every=10"]


def arguments(workdir, *extra, rule="hebbian", flags=SHORT):
    return [f"--config=configs/copying.py:{rule}", f"--workdir={workdir}", *flags, *extra]


def start(workdir, *extra, **options):
    """Starts the launcher, in a process of its own."""
    return programs.start("launch", *arguments(workdir, *extra, **options))


def read(path):
    return json.loads(path.read_text())


def final_state(workdir):
    """All arrays of the newest checkpoint."""
    config = ConfigDict(read(workdir / "config.json"))
    return [
        np.asarray(leaf) for leaf in jax.tree.leaves(trained_state(config, Workdir(str(workdir))))
    ]
