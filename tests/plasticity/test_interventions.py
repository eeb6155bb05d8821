"""Interventions change rates and keeps of the selected writes, and nothing else."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.interventions import hold, silence
from plasticity.memory import trace_after
from plasticity.network import EpisodeTrace, Network, Parameters
from plasticity.rules import none
from plasticity.telemetry import modulation, written
from plasticity.types import Form, LayerShape, Synapse, Write
from plasticity.unroll import run_episodes
from tests.networks import STEPS, make_inputs, make_network, make_params
from tests.sample import sampled

ENGINES = ["dense", "factored", "chunked"]


INPUTS = jnp.stack([make_inputs(seed=1), make_inputs(seed=2)])


class Case(NamedTuple):
    """A net, and its episodes as they are, without plasticity, and with silent writes."""

    network: Network
    params: Parameters
    plain: EpisodeTrace
    off: EpisodeTrace
    silenced: Callable


@pytest.fixture(params=sampled(ENGINES, lambda name: name == "chunked", "thorough"), scope="module")
def case(request):
    network = make_network("gradient", engine=request.param)
    params = make_params(network)

    def run(network):
        return jax.jit(lambda p: run_episodes(network, p, INPUTS))(params)

    @jax.jit
    def silenced(masks):
        changed = network._replace(intervention=silence(masks))
        return run_episodes(changed, params, INPUTS)

    return Case(network, params, run(network), run(network._replace(rule=none())), silenced)


def masks(network, mask):
    """The same steps in every layer."""
    return dict.fromkeys(network.backbone.shapes, mask)


def test_silence_everywhere_equals_no_plasticity(case):
    found = case.silenced(masks(case.network, jnp.ones(STEPS, bool))).outputs.task
    np.testing.assert_allclose(found, case.off.outputs.task, atol=1e-6)
    assert np.abs(found - case.plain.outputs.task).max() > 1e-3


def test_silence_from_a_step_on_leaves_earlier_steps(case):
    changed = case.silenced(masks(case.network, jnp.arange(STEPS) >= 4)).outputs.task
    plain = case.plain.outputs.task
    # The write of step 4 is first read at step 5.
    np.testing.assert_allclose(changed[:, :5], plain[:, :5], atol=1e-6)
    assert np.abs(changed[:, 5:] - plain[:, 5:]).max() > 1e-4


def test_silence_of_a_layer_leaves_the_others(case):
    network, params = case.network, case.params
    first, *others = network.backbone.shapes
    trace = case.silenced(masks(network, jnp.zeros(STEPS, bool)) | {first: jnp.ones(STEPS, bool)})
    weight = network.memory.weights(
        jax.tree.map(lambda a: a[0], trace.state.fast[first]), params.plasticity.synapses[first]
    ).weight
    assert not np.asarray(weight).any()
    rates = modulation(network, params, trace).rates
    assert not np.asarray(rates[first]).any()
    assert all(np.asarray(rates[other]).all() for other in others)


def test_layers_that_are_not_named_write_as_before():
    one = jnp.ones(())
    writes = {name: Write(jnp.ones(2), jnp.ones(3), one, 0.5 * one) for name in "ab"}
    changed = silence({"a": jnp.array([False, True])})(writes, 1)
    assert changed["a"].rate == 0
    assert changed["a"].keep == 1
    assert changed["b"] is writes["b"]


def test_held_rates_and_keeps_are_constant(case):
    values = {name: jnp.asarray(0.3) for name in case.network.backbone.shapes}
    intervention = hold(values, {n: 1 - v for n, v in values.items()})
    network = case.network._replace(intervention=intervention)
    writes = jax.jit(lambda p: run_episodes(network, p, INPUTS).writes)(case.params)
    for write in writes.values():
        np.testing.assert_allclose(write.rate, 0.3)
        np.testing.assert_allclose(write.keep, 0.7)


@pytest.mark.parametrize(
    ("rule", "alpha"),
    sampled(
        [
            (rule, alpha)
            for rule in ("hebbian", "gradient")
            for alpha in ("per_synapse", "per_neuron")
        ],
        lambda case: case == ("hebbian", "per_neuron"),
        "thorough",
    ),
)
def test_written_equals_the_weights_of_the_memory(rule, alpha):
    network = make_network(rule, engine="factored", rule_settings={"alpha": alpha})
    params = make_params(network)
    trace = jax.jit(lambda p: run_episodes(network, p, INPUTS))(params)
    after = jax.jit(written)
    for name, base in trace.state.fast.items():
        synapse = params.plasticity.synapses[name]
        for episode in range(2):
            write, last = jax.tree.map(lambda a, e=episode: a[e], (trace.writes[name], base))
            held = network.memory.weights(last, synapse).weight
            np.testing.assert_allclose(after(synapse, write, STEPS), held, atol=1e-6)
            assert not np.asarray(after(synapse, write, 0)).any()
            two = jax.tree.map(lambda a: a[:2], write)
            np.testing.assert_allclose(after(synapse, write, 2), after(synapse, two, 2), atol=1e-6)


def test_what_was_written_early_does_not_flow_in_later():
    """Of a form with momentum."""
    form, rng = Form(momentum=True), np.random.default_rng(0)
    sides = (jnp.asarray(rng.normal(size=(6, n)), jnp.float32) for n in (2, 3))
    rates = (jnp.asarray(rng.uniform(size=6), jnp.float32) for _ in range(3))
    write = Write(*sides, *rates)
    first = jax.tree.map(lambda a: a[:3], write)
    after = written(Synapse(), write, 3, form)
    np.testing.assert_allclose(after, written(Synapse(), first, 3, form), rtol=1e-5)
    np.testing.assert_allclose(after, trace_after(LayerShape(2, 3), first, form).weight, rtol=1e-5)


def test_steps_beyond_a_mask_are_not_silenced():
    write = Write(jnp.ones(2), jnp.ones(3), jnp.ones(()), jnp.full((), 0.5))
    change = silence({"a": jnp.array([False, False, True])})
    rates = [change({"a": write}, jnp.int32(t))["a"].rate.item() for t in range(6)]
    assert rates == [1, 1, 0, 1, 1, 1]


def test_writes_of_few_bits_are_replayed_in_float32():
    """A keep of .999 is 1 in bfloat16."""
    few = jnp.zeros((1000, 1), jnp.bfloat16).at[0].set(1)
    writes = Write(few, jnp.ones_like(few), jnp.ones(1000), jnp.full(1000, 0.999))
    assert trace_after(LayerShape(1, 1), writes).weight[0, 0] == pytest.approx(0.999**999, rel=1e-3)
