"""Checkpoints of earlier versions stay readable."""

import pathlib
from typing import NamedTuple

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from plasticity.data.store import DataError
from plasticity.experiments.run.checkpoint import Checkpoints
from plasticity.experiments.run.evaluate import trained_parameters
from plasticity.experiments.run.storage import WorkdirError
from plasticity.experiments.run.workdir import Workdir

ENCODERS = pathlib.Path(__file__).parents[2] / "experiments/results/encoders"
HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])
CLOCK = {"wall_seconds": 1.0}


class Earlier(NamedTuple):
    weights: jax.Array
    step: jax.Array


class Later(NamedTuple):
    weights: jax.Array
    step: jax.Array
    # Off in this run, so that it holds no array.
    added: jax.Array | None = None
    nested: tuple[dict, None] = ({}, None)


def stored(folder, state):
    checkpoints = Checkpoints(folder, 2)
    checkpoints.save(3, state, CLOCK)
    checkpoints.close()
    return Checkpoints(folder)


def test_a_part_without_arrays_that_was_added_since_is_no_difference(tmp_path):
    weights = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    earlier = Earlier(jax.device_put(weights), jax.numpy.int32(3))
    like = Later(*earlier)
    checkpoints = stored(tmp_path / "checkpoints", earlier)
    state, clock = checkpoints.restore(like, jax.tree.map(lambda _: HERE, like))
    assert jax.tree.structure(state) == jax.tree.structure(like)
    np.testing.assert_array_equal(state.weights, weights)
    assert (int(state.step), clock) == (3, CLOCK)


def test_a_part_with_arrays_that_was_added_since_is_named(tmp_path):
    earlier = Earlier(jax.numpy.ones(2), jax.numpy.int32(3))
    like = Later(*earlier, added=jax.numpy.ones(1))
    checkpoints = stored(tmp_path / "checkpoints", earlier)
    with pytest.raises(WorkdirError, match="added is not stored, but must be float32"):
        checkpoints.restore(like, jax.tree.map(lambda _: HERE, like))


@pytest.mark.parametrize("dataset", ["omniglot", "cifar_fs"])
def test_the_encoders_of_the_repository_are_readable(dataset):
    workdir = Workdir(str(ENCODERS / dataset))
    try:
        step, params = trained_parameters(ConfigDict(workdir.load_config()), workdir)
    except DataError as error:
        pytest.skip(str(error))
    assert step in workdir.saved_steps()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
