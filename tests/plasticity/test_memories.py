"""The memories of a network together: what all of them have in common is carried once."""

import jax
import jax.numpy as jnp
import pytest

from plasticity.episode import scan_episode
from plasticity.interventions import hold
from plasticity.memories import in_common, opened, part_of
from plasticity.pieces import initial_state
from plasticity.unroll import run_episodes
from tests.networks import INPUTS, STEPS, make_network, make_params
from tests.plasticity.test_episode import assert_trees_close


def own_rates(rule):
    """The rule with half the rate in all layers but the first."""

    def write(theta, modulator, activities):
        first, *others = rule.write(theta, modulator, activities).items()
        return dict([first, *((n, w._replace(rate=w.rate / 2)) for n, w in others)])

    return rule._replace(write=write)


def arrays_carried(network):
    params = make_params(network)
    state = initial_state(network, params, 1, slots=0)
    fast = opened(network, jax.tree.map(lambda a: a[0], state.fast), STEPS)
    carry = part_of(fast, "carry")
    stripped, restored = in_common(network, params, carry)
    assert jax.tree.structure(restored(stripped(carry))) == jax.tree.structure(carry)
    return len(jax.tree.leaves(stripped(carry)))


@pytest.mark.parametrize("engine", ["factored", "chunked"])
def test_coefficients_are_carried_once_where_layers_have_one_rate(engine):
    """Of two layers: coefficients, a product of keeps and a bias, and of the second its bias."""
    network = make_network("hebbian", engine=engine)
    assert len(network.layers) == 2
    assert arrays_carried(network) == 4
    assert arrays_carried(network._replace(rule=own_rates(network.rule))) == 6
    assert arrays_carried(network._replace(intervention=hold({}, {}))) == 6


@pytest.mark.thorough
@pytest.mark.parametrize("engine", ["factored", pytest.param("chunked", marks=pytest.mark.slow)])
def test_every_layer_is_written_at_its_rate(engine, x64):
    """Values and gradients are those of the dense engine, step by step."""
    inputs = jax.random.normal(jax.random.key(4), (2, STEPS, INPUTS), jnp.float64)

    def found(engine):
        network = make_network("hebbian", engine=engine, rule_settings={"plastic_biases": True})
        network = network._replace(rule=own_rates(network.rule))

        def loss(params):
            if engine == "dense":
                trace = jax.vmap(lambda x: scan_episode(network, params, x))(inputs)
            else:
                trace = run_episodes(network, params, inputs)
            return (trace.outputs.task**2).sum(), trace.writes

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(make_params(network))

    assert_trees_close(found(engine), found("dense"), 1e-10)
