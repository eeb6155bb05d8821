"""Interventions change rates and keeps of the selected writes, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.interventions import hold, silence
from plasticity.rules import none
from plasticity.telemetry import modulation, written
from plasticity.unroll import run_episodes
from tests.networks import STEPS, make_inputs, make_network, make_params

ENGINES = ["dense", "factored", "chunked"]


def run(network, params, intervention=None):
    inputs = jnp.stack([make_inputs(seed=1), make_inputs(seed=2)])
    changed = network._replace(intervention=intervention)
    return jax.jit(lambda params: run_episodes(changed, params, inputs))(params)


@pytest.fixture(params=ENGINES)
def case(request):
    network = make_network("gradient", engine=request.param)
    return network, make_params(network)


def test_silence_everywhere_equals_no_plasticity(case):
    network, params = case
    always = dict.fromkeys(network.backbone.shapes, jnp.ones(STEPS, bool))
    off = run(network._replace(rule=none()), params)
    found = run(network, params, silence(always)).outputs.task
    np.testing.assert_allclose(found, off.outputs.task, atol=1e-6)
    assert np.abs(found - run(network, params).outputs.task).max() > 1e-3


def test_silence_from_a_step_on_leaves_earlier_steps(case):
    network, params = case
    late = dict.fromkeys(network.backbone.shapes, jnp.arange(STEPS) >= 4)
    plain, changed = run(network, params), run(network, params, silence(late))
    np.testing.assert_allclose(
        changed.outputs.task[:, :5], plain.outputs.task[:, :5], atol=1e-6
    )  # the write of step 4 is first read at step 5
    assert np.abs(changed.outputs.task[:, 5:] - plain.outputs.task[:, 5:]).max() > 1e-4


def test_silence_of_a_layer_leaves_the_others(case):
    network, params = case
    first, *others = network.backbone.shapes
    trace = run(network, params, silence({first: jnp.ones(STEPS, bool)}))
    weight = network.memory.weights(
        jax.tree.map(lambda a: a[0], trace.fast[first]), params.plasticity.synapses[first]
    ).weight
    assert not np.asarray(weight).any()
    rates = modulation(network, params, trace).rates
    assert not np.asarray(rates[first]).any()
    assert all(np.asarray(rates[other]).all() for other in others)


def test_held_rates_and_keeps_are_constant(case):
    network, params = case
    values = {name: jnp.asarray(0.3) for name in network.backbone.shapes}
    trace = run(network, params, hold(values, {n: 1 - v for n, v in values.items()}))
    for write in trace.writes.values():
        np.testing.assert_allclose(write.rate, 0.3)
        np.testing.assert_allclose(write.keep, 0.7)


@pytest.mark.parametrize("rule", ["hebbian", "gradient"])
@pytest.mark.parametrize("alpha", ["per_synapse", "per_neuron"])
def test_written_equals_the_weights_of_the_memory(rule, alpha):
    network = make_network(rule, engine="factored", rule_settings={"alpha": alpha})
    params = make_params(network)
    trace = run(network, params)
    for name, base in trace.fast.items():
        synapse = params.plasticity.synapses[name]
        for episode in range(2):
            write, last = jax.tree.map(lambda a, e=episode: a[e], (trace.writes[name], base))
            held = network.memory.weights(last, synapse).weight
            np.testing.assert_allclose(written(synapse, write, STEPS), held, atol=1e-6)
            assert not np.asarray(written(synapse, write, 0)).any()
            two = jax.tree.map(lambda a: a[:2], write)
            np.testing.assert_allclose(
                jax.jit(written)(synapse, write, 2), written(synapse, two, 2), atol=1e-6
            )
