"""Spread over devices, a batch gives what it gives on one."""

import dataclasses
import math
import os
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from plasticity.experiments.lowered import execution_of
from plasticity.sharding import (
    Layout,
    check_all_take_part,
    largest_divisor,
    mean_over_devices,
    mean_over_parts,
    replicate,
    shardings,
    split_over_devices,
)


def test_two_devices_give_the_gradient_and_the_metrics_of_one(program_with_devices):
    program_with_devices(2, "tests.plasticity.test_sharding", "check_two_devices")


def check_two_devices():
    from plasticity.learner import RandomStream
    from tests.plasticity.test_learner import SEED, make

    learner, hyper, state = make()
    assert Layout().mesh(learner.batch).size == 2
    after, metrics = jax.jit(learner.train_step)(state, SEED, hyper)
    grad = jax.value_and_grad(learner.loss, has_aux=True)
    index = jnp.arange(learner.batch)
    (loss, _), grads = jax.jit(grad)(state.params, SEED, state.step, index, hyper)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    np.testing.assert_allclose(metrics["grad_norm"], norm, rtol=1e-5)
    assert int(after.step) == 1
    evaluate = jax.jit(learner.evaluate, static_argnums=5)
    tested = evaluate(state.params, SEED, RandomStream.TEST, jnp.arange(6), hyper, True)
    alone = evaluate(state.params, SEED, RandomStream.TEST, jnp.arange(5), hyper, True)
    assert Layout().mesh(5).size == 1
    np.testing.assert_allclose(tested["loss"][:5], alone["loss"], rtol=1e-5)


KINDS = ("hebbian factored", "gradient chunked", "hebbian dense", "none dense")
CASES = [f"{kind} {layout}" for kind in KINDS for layout in ("2 2", "1 4")]


@pytest.mark.slow  # by default `test_devices_that_share_layers_find_the_gradient_of_one`
@pytest.mark.parametrize("case", CASES)
def test_shared_layers_compute_what_whole_ones_do(program_with_devices, case, monkeypatch):
    monkeypatch.setenv("CASE", case)
    program_with_devices(4, "tests.plasticity.test_sharding", "check_shared_layers")


def check_shared_layers():
    """As on one device: the same loss, gradient and update; what is sent."""
    from tests.plasticity.test_learner import SEED, make

    rule, engine, data, model_axis = os.environ["CASE"].split()
    model = {"width": 16, "feed_forward": 40, "heads": 4}
    memory = {"engine": engine, "chunk": 2}
    learner, hyper, state = make(rule, model=model, memory=memory)
    split = learner.make_network(hyper).backbone.shard_by
    found = []
    for layout in (Layout(1, 1), Layout(int(data), int(model_axis))):
        mesh = layout.mesh(learner.batch)
        there = jax.device_put(state, shardings(state, mesh, split))
        step = jax.jit(dataclasses.replace(learner, layout=layout).train_step)
        compiled = step.lower(there, *replicate((SEED, hyper), mesh)).compile()
        after, metrics = compiled(there, *replicate((SEED, hyper), mesh))
        found.append((metrics, jax.device_get(after.params)))
        kernel = after.params.slow["params"]["block_0"]["fc1"]["kernel"]
        assert kernel.sharding.shard_shape(kernel.shape) == (16, 40 // layout.model)
        for layer, columns in (("query_key_value", 48), ("out", 16)):
            kernels = [
                leaf
                for path, leaf in jax.tree.leaves_with_path(after)
                if f"['{layer}']['kernel']" in jax.tree_util.keystr(path)
            ]
            assert len(kernels) == 3, "the parameter and two moments of it"
            for kernel in kernels:
                assert kernel.sharding.shard_shape(kernel.shape) == (16 // layout.model, columns)
        check_traffic(compiled.as_text(), layout)
        if (rule, engine) == ("hebbian", "factored"):  # of one block; see test_shares
            sent = sum(execution_of(compiled.as_text()).in_loops.values())
            assert sent == (4 if layout.model > 1 else 0) * learner.task.trained_on.steps
    for metrics, params in found[1:]:
        for name in ("loss", "grad_norm", "grad_alpha", "write_norm"):
            np.testing.assert_allclose(metrics[name], found[0][0][name], rtol=1e-5, atol=1e-7)
        first = found[0][1].plasticity, found[0][1].slow["params"]["block_0"]["fc2"]
        again = params.plasticity, params.slow["params"]["block_0"]["fc2"]
        for a, b in zip(*map(jax.tree.leaves, (first, again)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def check_traffic(program, layout):
    """Sums over devices; what is gathered are the vectors that a rule reads, fc1's and fc2's.

    The kernel of attention is exchanged, there and back.
    """
    exchanged = re.findall(r" all-to-all(?:-start)?\(", program)
    assert len(exchanged) == (2 if layout.model > 1 else 0)
    sums = re.findall(r"all-reduce(?:-start)?\(", program)
    assert bool(sums) == (layout != Layout(1, 1))
    gathered = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather(?:-start)?\(", program)
    for shape in gathered:
        episodes = 4 // layout.data
        assert math.prod(map(int, shape.split(","))) <= 2 * 40 * episodes, f"[{shape}] is gathered"


def test_meshes():
    """Without devices that fit: an error that names those that would."""
    with pytest.raises(ValueError, match=r"mesh.data=999 .* must be at most"):
        Layout(999).mesh(999)
    assert Layout().mesh(1).size == 1
    split = {"a/fc1": "outputs", "a/fc2": "inputs"}
    tree = {
        "mu": {"a": {"fc1": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}}},
        "s": {"a/fc2": {"alpha": jnp.ones((3, 4)), "alpha_out": jnp.ones(()), "beta": jnp.ones(3)}},
        "b": {"fc1": {"kernel": jnp.ones((3, 4))}},
    }
    found = shardings(tree, Layout().mesh(1), split)
    assert found["mu"]["a"]["fc1"]["kernel"].spec == PartitionSpec(None, "model")
    assert found["mu"]["a"]["fc1"]["bias"].spec == PartitionSpec("model")
    assert found["s"]["a/fc2"]["alpha"].spec == PartitionSpec(None, "model")
    for other in ("alpha_out", "beta"):
        assert found["s"]["a/fc2"][other].spec == PartitionSpec()
    assert found["b"]["fc1"]["kernel"].spec == PartitionSpec()
    seeds = shardings({"a": {"fc1": {"bias": jnp.ones((2, 4))}}}, Layout().mesh(1), split, lead=1)
    assert seeds["a"]["fc1"]["bias"].spec == PartitionSpec(None, "model")


def test_a_row_needs_its_devices():
    for data in (0, -1, 2):
        with pytest.raises(ValueError, match=r"^mesh.model=999 must be at most \d+, the devices"):
            Layout(data, 999).mesh(4)


@pytest.mark.parametrize(("layout", "whole"), [((2, 1), False), ((3, 1), True), ((1, 3), True)])
def test_no_process_is_left_out(layout, whole, monkeypatch):
    """Two processes with two devices each."""
    devices = [types.SimpleNamespace(process_index=i // 2) for i in range(4)]
    if whole:
        check_all_take_part(devices[: math.prod(layout)], devices)
        return
    monkeypatch.setattr(jax, "devices", lambda: devices)
    with pytest.raises(ValueError, match=r"the processes \[1\] without .*: mesh.data=-1, and"):
        Layout(*layout).mesh(12)


def test_index_and_results_are_split_and_averaged():
    mesh = Layout().mesh(4)
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


@pytest.mark.parametrize("most", [10**9, 2**63, 4])
def test_a_part_may_be_larger_than_the_batch(most):
    """At once: the divisors of B are searched, not the numbers up to `most`."""
    assert mean_over_parts(lambda i: i.sum(), most)(jnp.arange(4)) == 6


def test_the_largest_divisor_up_to_a_number():
    for number in range(1, 60):
        for most in range(1, 70):
            expected = max(n for n in range(1, number + 1) if number % n == 0 and n <= most)
            assert largest_divisor(number, most) == expected
    assert largest_divisor(10**12, 10**12 - 1) == 5 * 10**11
    for number, most in ((0, 1), (4, -1)):
        with pytest.raises(ValueError, match=f"{number} has no divisor from 1 to {most}"):
            largest_divisor(number, most)


@pytest.mark.slow  # by default parts of a batch, above
def test_microbatches_give_the_gradient_of_the_batch():
    from tests.plasticity.test_learner import SEED, make

    learner, hyper, state = make()
    in_parts = dataclasses.replace(learner, microbatch=2)
    (_, m), (_, n) = (jax.jit(each.train_step)(state, SEED, hyper) for each in (learner, in_parts))
    np.testing.assert_allclose(n["grad_norm"], m["grad_norm"], rtol=1e-5)
    np.testing.assert_allclose(n["loss"], m["loss"], rtol=1e-6)
