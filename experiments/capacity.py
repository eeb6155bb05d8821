r"""How many pairs a memory holds: the capacity experiment of Schlag et al. 2021, section 6.1.

python -m experiments.capacity --out=FILE.json [--seeds=3] [--steps=100000] [--keys=20 --keys=40] \
    [--rows=unique/sums/elu,rewritten/delta/dpfp1]

A row is SETTING/MEMORY/FEATURE. Settings: `unique`, S keys are written once each; `rewritten`, 2 S
keys are drawn with replacement, and the last value of a key counts. Memories: `sums` (divided by
the sum of keys), `hebb` (sums of normalised keys), `delta`, `gated_delta`. Features: those of
plasticity/features.py. Training stops at a loss of .001, or after eleven evaluations without
progress; the best evaluation counts. As in the authors' code, evaluations write S pairs in both
settings: `loss_as_trained` is after as many as in training. The same command goes on where it
stopped.
"""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from absl import flags

from plasticity.experiments import cli
from plasticity.experiments.probing.retrieval import MEMORIES, SETTINGS, Params, Retrieval
from plasticity.experiments.run.checked import read
from plasticity.experiments.run.manifest import describe_launch
from plasticity.experiments.run.storage import write_json
from plasticity.experiments.sweeps.tables import Row
from plasticity.experiments.validate import ConfigError
from plasticity.features import FEATURES
from plasticity.registry import lookup
from plasticity.types import Array, Key, PyTree

KEYS = {
    "unique": (20, 40, 60, 80, 100, 120, 160, 200, 300, 400, 600),
    "rewritten": (20, 40, 60, 80, 100, 120, 160, 200),
}
# The best evaluation loss of each log in the authors' repository, one seed, for `KEYS`.
PUBLISHED = {
    "unique/sums/elu": (
        0.0009, 0.0008, 0.0245, 0.1084, 0.1642, 0.2322, 0.3011, 0.3420, 0.3971, 0.4216, 0.4513,
    ),
    "unique/sums/dpfp1": (
        0.0008, 0.0003, 0.0004, 0.0002, 0.0002, 0.0083, 0.1020, 0.1732, 0.2855, 0.3415, 0.4109,
    ),
    "unique/sums/dpfp2": (
        0.0003, 0.0006, 0.0010, 0.0006, 0.0005, 0.0003, 0.0004, 0.0004, 0.0681, 0.1643, 0.3234,
    ),
    "rewritten/sums/dpfp1": (0.0973, 0.1039, 0.1026, 0.1133, 0.1113, 0.1277, 0.1797, 0.2310),
    "rewritten/delta/dpfp1": (0.0008, 0.0010, 0.0049, 0.0063, 0.0041, 0.0141, 0.1039, 0.1709),
}  # fmt: skip
OUT = flags.DEFINE_string("out", None, "JSON file, to which missing cells are added")
ROWS = flags.DEFINE_list("rows", [*PUBLISHED, "rewritten/hebb/dpfp1"], "SETTING/MEMORY/FEATURE")
COUNTS = flags.DEFINE_multi_integer("keys", [], "S; none: those of the paper", 2, 10_000)
SEEDS = flags.DEFINE_integer("seeds", 3, "how many", 1, 1000)
STEPS = flags.DEFINE_integer("steps", 100_000, "at most; stops at an evaluation", 1)

BATCH, LEARNING_RATE = 32, 1e-3
EVERY, SEQUENCES = 100, 20  # steps between evaluations, and sequences of each
ENOUGH, PATIENCE = 1e-3, 10
FILE = {
    "launches": [dict],
    "steps": int,
    "cells": [{"row": str, "keys": int, "seed": int, "loss": float}],
}


class Trainer(NamedTuple):
    """The compiled functions of a task, for all seeds."""

    begin: Callable[[Key], PyTree]  # the state before training
    train: Callable[[PyTree, Key], PyTree]  # that after EVERY steps more
    evaluate: Callable[[PyTree, Key], Array]  # losses after S writes and after those of training


@functools.cache
def trainer_of(task: Retrieval) -> Trainer:
    """Made once, so that it is compiled once."""
    optimizer = optax.adam(LEARNING_RATE)
    writes = SETTINGS[task.setting].times * task.keys

    def begin(key: Key) -> PyTree:
        params = task.init(key)
        return params, optimizer.init(params)

    def loss(params: Params, key: Key) -> Array:
        keys = jax.random.split(key, BATCH + 1)
        pairs = jax.vmap(lambda k: task.sample(k, writes))(keys[1:])
        steps = jax.random.randint(keys[0], (BATCH,), 0, writes)
        return jax.vmap(task.loss, (None, 0, 0, 0))(params, *pairs, steps).mean()

    def update(state: PyTree, key: Key) -> tuple[PyTree, None]:
        grads = jax.grad(loss)(state[0], key)
        updates, moments = optimizer.update(grads, state[1])
        return (optax.apply_updates(state[0], updates), moments), None

    def train(state: PyTree, key: Key) -> PyTree:
        return jax.lax.scan(update, state, jax.random.split(key, EVERY))[0]

    def evaluate(state: PyTree, key: Key) -> Array:
        losses = []
        for length in dict.fromkeys((task.keys, writes)):
            keys = jax.random.split(key, SEQUENCES)
            pairs = jax.vmap(lambda k, n=length: task.sample(k, n))(keys)
            sums, queries = jax.vmap(task.evaluate, (None, 0, 0))(state[0], *pairs)
            losses.append(sums.sum() / queries.sum())
        return jnp.stack(losses)

    return Trainer(*map(jax.jit, (begin, train, evaluate)))


def trained(task: Retrieval, seed: int, most: int) -> Row:
    """Trains for at most so many steps: the best loss, when it was found, and the steps taken."""
    trainer, started = trainer_of(task), time.monotonic()
    streams = jax.random.split(jax.random.key(seed), 3)
    state, step, at = trainer.begin(streams[0]), 0, 0
    best = trainer.evaluate(state, streams[2])
    while step < most and best[0] > ENOUGH and step - at <= PATIENCE * EVERY:
        step += EVERY
        state = trainer.train(state, jax.random.fold_in(streams[1], step))
        losses = trainer.evaluate(state, jax.random.fold_in(streams[2], step))
        if losses[0] < best[0]:
            best, at = losses, step
    found = {"loss": float(best[0]), "loss_as_trained": float(best[-1]), "best_step": at}
    return found | {"steps": step, "seconds": round(time.monotonic() - started, 1)}


def task_of(row: str, keys: int) -> Retrieval:
    """The task of an entry of --rows.

    Raises:
      ConfigError: it is not of the form SETTING/MEMORY/FEATURE, or one of these is unknown.
    """
    parts = row.split("/")
    known = {"setting": SETTINGS, "memory": MEMORIES, "feature": FEATURES}
    if len(parts) != len(known):
        raise ConfigError(f"--rows={row} must be SETTING/MEMORY/FEATURE, such as {min(PUBLISHED)}")
    try:
        for part, (field, registry) in zip(parts, known.items(), strict=True):
            lookup(registry, part, f"--rows={row}: {field}")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return Retrieval(*parts, keys)


def table_of(cells: Sequence[Row]) -> list[Row]:
    """A line for each row and number of keys: the published loss, our mean and those of seeds."""
    lines = []
    for row, keys in sorted({(cell["row"], cell["keys"]) for cell in cells}):
        losses = [cell["loss"] for cell in cells if (cell["row"], cell["keys"]) == (row, keys)]
        known = dict(zip(KEYS[row.split("/")[0]], PUBLISHED.get(row, ()), strict=False))
        ours = {"mean": sum(losses) / len(losses), "seeds": losses}
        lines.append({"row": row, "keys": keys, "published": known.get(keys)} | ours)
    return lines


def opened(path: pathlib.Path) -> dict[str, Any]:
    """The content of the output file, or that of a new one.

    Raises:
      ConfigError: the file is of another --steps, or cannot be made. DamagedFileError: it is not
      of this program.
    """
    if not path.is_file():
        cli.new_path("out", str(path))
        return {"launches": [], "steps": STEPS.value, "table": [], "cells": []}
    found: dict[str, Any] = read(path, FILE)
    if found["steps"] != STEPS.value:
        raise ConfigError(f"--steps={STEPS.value} must be {found['steps']}, as in --out={path}")
    return found


def main() -> int:
    """Trains what is missing, and writes the file after every cell."""
    wanted = {
        (seed, keys, row): task_of(row, keys)
        for row in ROWS.value
        for keys in COUNTS.value or KEYS[task_of(row, 2).setting]
        for seed in range(SEEDS.value)
    }
    if not wanted:
        raise ConfigError(f"--rows is empty: name some, such as {min(PUBLISHED)}")
    path = cli.local_path("out", OUT.value)
    content = opened(path)
    done = {(cell["seed"], cell["keys"], cell["row"]) for cell in content["cells"]}
    missing = sorted(wanted.keys() - done)  # all of the first seed, small ones first
    launch = describe_launch()
    for seed, keys, row in missing:
        cell = {"row": row, "keys": keys, "seed": seed}
        cell |= trained(wanted[seed, keys, row], seed, STEPS.value)
        content = opened(path)  # anew: another process may have added to it
        content["launches"] += [launch] * (launch not in content["launches"])
        content["cells"].append(cell)
        content["table"] = table_of(content["cells"])
        write_json(path, content)
        print(f"{row}, {keys} keys, seed {seed}: loss {cell['loss']:.4f}", flush=True)
    print(f"cells trained: {len(missing)} of {len(wanted)}; written: {path}")
    return 0


if __name__ == "__main__":
    cli.run(main)
