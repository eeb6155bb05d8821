"""Each query is answered as if it were the only one, at the step after the episode."""

import jax
import jax.numpy as jnp
import pytest

from plasticity.episode import scan_episode
from plasticity.rules import RULES
from plasticity.unroll import run_episode
from tests.networks import INPUTS, STEPS, make_network, make_params
from tests.plasticity.test_episode import assert_trees_close
from tests.sample import sampled


def assert_queries_are_next_steps(network, params, inputs, queries):
    """Compares each answer with that of an episode that has the query as its last step."""
    answers = jax.jit(lambda p: run_episode(network, p, inputs, None, queries).outputs)(params)
    longer = jax.jit(lambda p, inputs: scan_episode(network, p, inputs).outputs)
    for i, query in enumerate(queries):
        alone = longer(params, jnp.concatenate([inputs, query[None]]))
        assert_trees_close(
            jax.tree.map(lambda a, i=i: a[len(inputs) + i], answers),
            jax.tree.map(lambda a: a[len(inputs)], alone),
            1e-10,
        )


@pytest.mark.thorough
@pytest.mark.parametrize("backbone", sampled(["rnn", "lstm"], lambda name: name == "rnn"))
def test_a_recurrent_query_equals_the_next_step(backbone, x64):
    network = make_network("gradient", engine="factored", chunk=2, backbone=backbone)
    static = network._replace(rule=RULES["none"]())
    params = make_params(network)
    both = jax.random.normal(jax.random.key(4), (STEPS + 2, INPUTS), jnp.float64)
    inputs, queries = both[:STEPS], both[STEPS:]
    for net in (network, static):
        assert_queries_are_next_steps(net, params, inputs, queries)


@pytest.mark.parametrize(
    ("window", "rule", "engine"),
    [
        *sampled([(w, "none", "dense") for w in (-1, 0, 2)], lambda case: case[0] == 0, "thorough"),
        *(pytest.param(w, "gradient", "factored", marks=pytest.mark.slow) for w in (-1, 0)),
        (2, "gradient", "factored"),
    ],
)
def test_a_query_equals_the_next_step(window, rule, engine, x64):
    steps = 5
    model = {"layers": 2, "attention_window": window, "position": "learned"}
    network = make_network(rule, engine=engine, chunk=2, steps=steps + 1, model=model)
    params = make_params(network)
    inputs, queries = jnp.split(
        jax.random.normal(jax.random.key(4), (steps + 3, INPUTS), jnp.float64), [steps]
    )
    assert_queries_are_next_steps(network, params, inputs, queries)
