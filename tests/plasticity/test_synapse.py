"""Coefficients: distributions, and the alpha of every mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity import synapse as synapses
from plasticity.types import LayerShape
from tests.oracles import alpha_matrix

SHAPE = LayerShape(outputs=50, inputs=40)


def draw(mode, initializer, scale=0.5, bias=True):
    key = jax.random.key(1)
    return synapses.init(
        key, SHAPE, mode=mode, initializer=initializer, scale=scale, plastic_bias=bias
    )


@pytest.mark.parametrize("mode", synapses.MODES)
def test_constant_alpha_is_the_scale_everywhere(mode):
    alpha, beta = alpha_matrix(draw(mode, "constant"), SHAPE)
    np.testing.assert_array_equal(alpha, 0.5)
    np.testing.assert_array_equal(beta, 0.5)


@pytest.mark.parametrize("mode", ["per_synapse", "per_neuron"])
def test_uniform_alpha_is_signed_bounded_and_spread(mode):
    alpha, beta = alpha_matrix(draw(mode, "uniform"), SHAPE)
    for values in (alpha, beta):
        assert -0.5 <= values.min() < -0.4
        assert 0.4 < values.max() <= 0.5
    assert abs(alpha.mean()) < 0.15


@pytest.mark.parametrize("mode", synapses.MODES)
def test_the_write_norm_is_that_of_the_written_matrix(mode):
    synapse = draw(mode, "uniform")
    left, right = jnp.arange(50.0) / 50, jnp.cos(jnp.arange(40.0))
    alpha, _ = alpha_matrix(synapse, SHAPE)
    expected = ((alpha * np.outer(left, right)) ** 2).sum()
    np.testing.assert_allclose(
        synapses.write_norm_squared(synapse, left, right), expected, rtol=1e-5
    )


def test_a_bias_that_is_not_plastic_has_no_coefficient():
    assert draw("per_synapse", "constant", bias=False).beta is None


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"alpha='per_neurn' is unknown: did you mean 'per_neuron'"
    ):
        draw("per_neurn", "constant")


def test_a_negative_scale_of_uniform_coefficients_is_its_size():
    one, other = (draw("per_synapse", "uniform", scale).alpha for scale in (0.5, -0.5))
    np.testing.assert_array_equal(one, other)
