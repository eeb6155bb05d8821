"""Causality: an answer depends on earlier steps of its own episode only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.memory import ENGINES
from plasticity.rules import feed_forward, none
from plasticity.unroll import run_episode, run_episodes
from tests.networks import make_inputs, make_network, make_params
from tests.sample import sampled

CASES = [(rule, "dense") for rule in feed_forward()]
CASES += [("gradient", name) for name in ENGINES if name != "dense"]
QUICK = [("hebbian", "dense"), ("delta", "dense")]


def influence_of_inputs(network):
    """How far the answer at t moves when input s is changed: [T answers, T inputs].

    The same compiled program runs every time, so that what does not depend is equal bit for bit.
    """
    params, inputs = make_params(network), make_inputs()
    run = jax.jit(lambda x: run_episode(network, params, x).outputs.task)
    changed = [run(inputs.at[step].add(1.0)) for step in range(len(inputs))]
    return np.abs(np.stack(changed, 1) - run(inputs)[:, None]).sum(2)


@pytest.mark.parametrize(
    ("rule", "engine"),
    sampled(CASES, lambda case: case in [("none", "dense"), *QUICK, ("gradient", "chunked")]),
)
def test_no_answer_depends_on_later_inputs(rule, engine):
    """Through attention and fast weights together."""
    network = make_network(rule, engine=engine, model={"layers": 2})
    influence = influence_of_inputs(network)
    np.testing.assert_array_equal(np.triu(influence, 1), 0)
    assert np.all(np.diagonal(influence) > 0)


@pytest.mark.parametrize(
    ("rule", "reaches"), [("none", False), ("hebbian", True), ("gradient", True)]
)
def test_only_fast_weights_reach_beyond_the_attention_window(rule, reaches):
    """With window 2, step 6 attends to steps 4 to 6; only fast weights carry step 0 to it."""
    network = make_network(rule, model={"attention_window": 2})
    influence = influence_of_inputs(network)
    assert (float(influence[6, 0]) > 0) == reaches
    assert float(influence[6, 4]) > 0


def test_a_write_is_first_read_at_the_next_step():
    network = make_network()
    params, inputs = make_params(network), make_inputs()
    on, off = (
        jax.jit(lambda p, net=net: run_episode(net, p, inputs).outputs.task)(params)
        for net in (network, network._replace(rule=none()))
    )
    np.testing.assert_allclose(on[0], off[0], rtol=1e-5)
    assert float(jnp.abs(on[1] - off[1]).max()) > 1e-4


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rule", "engine"), sampled(CASES, lambda case: case in [*QUICK, ("gradient", "factored")])
)
def test_episodes_of_a_batch_are_independent(rule, engine):
    network = make_network(rule, engine=engine)
    params = make_params(network)
    batch = jnp.stack([make_inputs(seed=s) for s in range(3)])
    together = jax.jit(lambda p: run_episodes(network, p, batch).outputs.task)(params)
    run = jax.jit(lambda p, inputs: run_episode(network, p, inputs).outputs.task)
    for i in range(3):
        np.testing.assert_allclose(together[i], run(params, batch[i]), rtol=1e-4, atol=1e-5)
