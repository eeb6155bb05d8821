"""Small runs of the launcher, for the tests that start, stop and read them."""

import contextlib
import itertools
import json
import signal

import jax
import numpy as np
from ml_collections import ConfigDict

from plasticity.configs import copying
from plasticity.experiments.run.evaluate import trained_state
from plasticity.experiments.run.hosts import SharedInterrupts
from plasticity.experiments.run.interrupts import Interrupts
from plasticity.experiments.run.train import train
from plasticity.experiments.run.workdir import Workdir
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


def tiny_config(**fields):
    """The config of `TINY`, for runs in this process; `train__steps=8` sets train.steps."""
    config = copying.get_config()
    pairs = (flag.removeprefix("--config.").split("=") for flag in TINY)
    fields = {name.replace("__", "."): value for name, value in fields.items()}
    config.update_from_flattened_dict({name: int(value) for name, value in pairs} | fields)
    return config


def arguments(workdir, *extra, rule="hebbian", flags=SHORT):
    return [f"--config=configs/copying.py:{rule}", f"--workdir={workdir}", *flags, *extra]


def train_until(config, workdir, poll, monkeypatch):
    """Trains in this process until the run asks for the number `poll` whether it is to stop."""
    with interrupted(poll, monkeypatch):
        assert train(config, str(workdir)) == 128 + signal.SIGTERM


@contextlib.contextmanager
def interrupted(poll, monkeypatch):
    """A signal comes once what trains inside asks for the number `poll` whether it is to stop."""
    polls = itertools.count()

    def asked(interrupts):
        if next(polls) == poll:
            interrupts.signal = signal.SIGTERM
        return interrupts.signal is not None

    with monkeypatch.context() as changed:
        changed.setattr(Interrupts, "asked", asked)
        changed.setattr(SharedInterrupts, "asked", asked)
        yield


def start(workdir, *extra, **options):
    """Starts the launcher, in a process of its own."""
    return programs.start("launch", *arguments(workdir, *extra, **options))


def read(path):
    return json.loads(path.read_text())


def rows(workdir):
    """The rows of metrics.jsonl."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def contents(folder):
    """{name: bytes} of all files in a folder but the lock; None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def final_state(workdir):
    """All arrays of the newest checkpoint."""
    config = ConfigDict(read(workdir / "config.json"))
    return [
        np.asarray(leaf) for leaf in jax.tree.leaves(trained_state(config, Workdir(str(workdir))))
    ]


def assert_same_state(ours, theirs):
    """Bit for bit."""
    for a, b in zip(final_state(ours), final_state(theirs), strict=True):
        np.testing.assert_array_equal(a, b)
