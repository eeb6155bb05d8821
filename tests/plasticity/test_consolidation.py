"""Fast weights that flow into slow ones, against a loop in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.evaluation import evaluate_episodes
from plasticity.learner import RandomStream
from plasticity.outer.consolidation import Consolidation, check_layers, with_consolidation
from plasticity.sharding import Layout, replicate, shardings
from plasticity.types import FastWeights, LayerShape
from tests.plasticity.test_learner import SEED, leaves_equal, make

RATE = 1.0


def consolidating(rule="hebbian", **sections):
    """(learner, inputs, state, jitted step), of a step that consolidates."""
    learner, hyper, state = make(rule, consolidation={"rate": RATE}, **sections)
    return learner, hyper, state, jax.jit(learner.train_step)


@pytest.fixture(scope="module")
def hebbian():
    """Compiled once for all tests."""
    return consolidating(memory={"engine": "factored"})


def replayed(learner, hyper, state):
    """{layer: ([O, I], [O])}: mean over episodes of coefficient times trace, write by write."""

    @jax.jit
    def writes(params):
        network, index = learner.make_network(hyper), jnp.arange(learner.batch)
        episodes = learner.episodes(SEED, RandomStream.TRAIN, state.step, index)
        return evaluate_episodes(network, learner.task, params, episodes, None)[1].writes

    found = {}
    for layer, write in jax.device_get(writes(state.params)).items():
        synapse = state.params.plasticity.synapses[layer]
        weights, biases = zip(*traces(write), strict=True)
        alpha = np.outer(synapse.alpha_out, synapse.alpha_in)
        found[layer] = alpha * sum(weights) / len(weights), synapse.beta * sum(biases) / len(biases)
    return found


def traces(write):
    """Those of the weights and of the bias, of each episode."""
    for episode in range(len(write.rate)):
        h, b = 0.0, 0.0
        for rate, keep, left, right in zip(
            *(a[episode] for a in (write.rate, write.keep, write.left, write.right)), strict=True
        ):
            h = keep.reshape(-1, 1) * h + np.outer(rate * left, right)  # keep: one, or of outputs
            b = keep * b + rate * left
        yield h, b


def check_flow(learner, hyper, state, step):
    after, metrics = step(state, SEED, hyper)
    without, _ = step(state, SEED, hyper._replace(consolidation=np.float32(0)))
    squares = 0.0
    for layer, flows in replayed(learner, hyper, state).items():
        block, name = layer.split("/")
        found, usual = (s.params.slow["params"][block][name] for s in (after, without))
        moved = [np.asarray(found[part] - usual[part]).T for part in ("kernel", "bias")]
        for change, mean in zip(moved, flows, strict=True):
            assert np.abs(RATE * mean).max() > 1e-4
            np.testing.assert_allclose(change, RATE * mean, rtol=1e-3, atol=1e-6)
            squares += ((RATE * mean) ** 2).sum()
    assert float(metrics["consolidated"]) == pytest.approx(squares**0.5, rel=1e-4)
    assert leaves_equal(after.params.plasticity, without.params.plasticity)
    assert leaves_equal(after.optimizer, without.optimizer)
    assert leaves_equal(*(s.params.slow["params"]["embed"] for s in (after, without)))


def test_the_mean_of_the_fast_weights_is_added(hebbian):
    check_flow(*hebbian)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "memory"),
    [("hebbian", {"engine": "chunked", "chunk": 4}), ("gradient", {"engine": "dense", "chunk": 0})],
)
def test_every_engine_opens_what_it_holds(rule, memory):
    check_flow(*consolidating(rule, memory=memory))


def test_a_rate_of_zero_is_identical_training(hebbian):
    """Both: the program that does not consolidate, and the one that does, at the rate 0."""
    _, hyper, state, step = hebbian
    plain, still, _ = make("hebbian", memory={"engine": "factored"})
    assert plain.consolidation is None
    one, metrics = step(state, SEED, hyper._replace(consolidation=np.float32(0)))
    other, usual = jax.jit(plain.train_step)(state, SEED, still)
    assert leaves_equal(one, other)
    assert metrics.keys() - usual.keys() == {"consolidated"}


@pytest.mark.thorough
def test_microbatches_flow_as_a_batch_does(hebbian):
    learner, hyper, state, step = hebbian
    halves = dataclasses.replace(learner, microbatch=2)
    one, two = (own(state, SEED, hyper)[0].params for own in (step, jax.jit(halves.train_step)))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_flow_that_is_not_finite_changes_nothing(hebbian):
    _, hyper, state, step = hebbian
    after, metrics = step(state, SEED, hyper._replace(consolidation=np.float32(np.inf)))
    assert not np.isfinite(metrics["consolidated"])
    assert leaves_equal(after, state)


def test_the_control_moves_the_same_numbers_to_the_same_other_places():
    rng = np.random.default_rng(0)
    weight, bias = jnp.asarray(rng.normal(size=(5, 4))), jnp.zeros(5)
    zero = {"params": {"a": {"kernel": jnp.zeros((4, 5)), "bias": bias, "scale": bias}}}
    key, control = jax.random.key(0), Consolidation(shuffled=True)
    fast = {"a": FastWeights(weight, bias)}
    slow, flowed = with_consolidation(zero, fast, 2.0, control, key)
    found = np.asarray(slow["params"]["a"]["kernel"])
    np.testing.assert_allclose(np.sort(found.ravel()), np.sort(2 * weight.ravel()), rtol=1e-6)
    assert not np.allclose(found, 2 * weight.T)
    twice, _ = with_consolidation(slow, fast, 2.0, control, key)
    np.testing.assert_allclose(twice["params"]["a"]["kernel"], 2 * found, rtol=1e-6)
    straight, same = with_consolidation(zero, fast, 2.0, Consolidation(), key)
    np.testing.assert_allclose(straight["params"]["a"]["kernel"], 2 * weight.T, rtol=1e-6)
    assert float(flowed["consolidated"]) == pytest.approx(float(same["consolidated"]), rel=1e-6)


def test_a_plastic_bias_flows_too():
    slow = {"params": {"a": {"kernel": jnp.zeros((2, 3)), "bias": jnp.ones(3)}}}
    fast = {"a": FastWeights(jnp.zeros((3, 2)), jnp.arange(3.0))}
    after, _ = with_consolidation(slow, fast, 0.5, Consolidation(), jax.random.key(0))
    np.testing.assert_allclose(after["params"]["a"]["bias"], [1.0, 1.5, 2.0])


def test_layers_without_a_slow_matrix_of_their_shape_are_refused():
    shape = {"a": LayerShape(outputs=3, inputs=2)}
    check_layers({"params": {"a": {"kernel": np.zeros((2, 3))}}}, shape)
    for slow in ({"params": {"a": {"kernel": np.zeros((3, 2))}}}, {"params": {}}, {"carry": ()}):
        with pytest.raises(ValueError, match=r"'a' has no slow matrix 'kernel' \[2, 3\]"):
            check_layers(slow, shape)
    with pytest.raises(ValueError, match="no plastic layer is written"):
        check_layers({"params": {}}, {})


@pytest.mark.slow
def test_two_devices_consolidate_what_one_does(program_with_devices):
    program_with_devices(2, "tests.plasticity.test_consolidation", "check_devices")


def check_devices():
    """Episodes, or layers, over two devices: the same slow weights."""
    learner, hyper, state, _ = consolidating()
    split, found = learner.make_network(hyper).backbone.shard_by, []
    for layout in (Layout(1, 1), Layout(2, 1), Layout(1, 2)):
        mesh = layout.mesh(learner.batch)
        there = shardings(state, mesh, split)
        step = jax.jit(
            dataclasses.replace(learner, layout=layout).train_step, out_shardings=(there, None)
        )
        after, _ = step(jax.device_put(state, there), *replicate((SEED, hyper), mesh))
        found.append(jax.device_get(after.params.slow))
    for one, *others in zip(*map(jax.tree.leaves, found), strict=True):
        for other in others:
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
