"""Spread over devices, a batch gives what it gives on one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.sharding import episode_mesh, mean_over_devices, mean_over_parts, split_over_devices


def test_two_devices_give_the_gradient_and_the_metrics_of_one(program_with_devices):
    program_with_devices(2, "tests.plasticity.test_sharding", "check_two_devices")


def check_two_devices():
    from plasticity.learner import Stream
    from tests.plasticity.test_learner import SEED, make

    learner, knobs, state = make()
    assert episode_mesh(learner.batch).size == 2
    after, metrics = jax.jit(learner.train_step)(state, SEED, knobs)
    grad = jax.value_and_grad(learner.loss, has_aux=True)
    index = jnp.arange(learner.batch)
    (loss, _), grads = jax.jit(grad)(state.params, SEED, state.step, index, knobs)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    assert int(after.step) == 1
    tested = learner.evaluate(state.params, SEED, Stream.TEST, jnp.arange(6), knobs, True)
    alone = learner.evaluate(state.params, SEED, Stream.TEST, jnp.arange(5), knobs, True)
    assert episode_mesh(5).size == 1
    np.testing.assert_allclose(tested["loss"][:5], alone["loss"], rtol=1e-5)


def test_index_and_results_are_split_and_averaged():
    mesh = episode_mesh(4)
    index = jnp.arange(4.0)
    np.testing.assert_array_equal(
        split_over_devices(lambda i, k: k * i, mesh)(index, 2.0), 2 * index
    )
    assert mean_over_devices(lambda i: i.mean(), mesh)(index) == 1.5


def test_parts_of_a_batch_average_to_the_whole():
    index = jnp.arange(12.0)
    for most, parts in ((0, 1), (12, 1), (5, 3), (1, 12)):
        sizes = []

        def mean(i, gain, sizes=sizes):
            sizes.append(len(i))
            return {"m": gain * i.mean()}

        assert mean_over_parts(mean, most)(index, 2.0)["m"] == 11.0
        assert set(sizes) == {12 // parts}


def test_microbatches_give_the_gradient_of_the_batch():
    from tests.plasticity.test_learner import SEED, make

    learner, knobs, state = make()
    in_parts = dataclasses.replace(learner, microbatch=2)
    (_, m), (_, n) = (jax.jit(each.train_step)(state, SEED, knobs) for each in (learner, in_parts))
    np.testing.assert_allclose(n["grad_norm"], m["grad_norm"], rtol=1e-5)
    np.testing.assert_allclose(n["loss"], m["loss"], rtol=1e-6)
