"""Training steps that are stored for TPUs, GPUs and CPUs at once."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax import export

from plasticity.experiments import build
from plasticity.model.scores import KeyValue, blank
from plasticity.outer import OPTIMIZERS
from tests.plasticity.test_episode import assert_trees_close
from tests.plasticity.test_learner import SEED, make, small_config

pytest.importorskip("flatbuffers", reason="jax.export stores programs with flatbuffers")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_state_can_be_stored(name):
    config = small_config()
    settings = dataclasses.asdict(OPTIMIZERS[name].settings())
    with config.unlocked():
        config.optimizer.update({"name": name, **settings})
    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    state = jax.eval_shape(learner.init, SEED, hyper)
    stored = export.export(jax.jit(lambda *both: both))(state, hyper).serialize()
    assert export.deserialize(stored).in_tree == jax.tree.structure(((state, hyper), {}))


@pytest.mark.slow
def test_a_training_step_can_be_stored():
    learner, hyper, state = make()
    hyper = jax.tree.map(jnp.asarray, hyper)
    step = jax.jit(learner.train_step)
    exported = export.export(step, platforms=("tpu", "cuda", "cpu"))(state, SEED, hyper)
    assert "f64" not in exported.mlir_module()
    after, metrics = export.deserialize(exported.serialize()).call(state, SEED, hyper)
    expected, same = step(state, SEED, hyper)
    assert_trees_close((after.params, metrics), (expected.params, same), 1e-4)


def test_a_past_that_was_stored_by_an_earlier_version_can_be_read():
    """Its keys and values are named by the module in which they were first defined."""
    stored = export.export(jax.jit(lambda past: past))(blank(2, 1, 4, jnp.float32)).serialize()
    assert b"plasticity.model.attention.KeyValue" in stored
    assert isinstance(export.deserialize(stored).call(blank(2, 1, 4, jnp.float32)), KeyValue)
