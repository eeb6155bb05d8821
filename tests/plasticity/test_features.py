"""Feature maps and norms of keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.features import FEATURES, NORMS, dpfp


@pytest.mark.parametrize("nu", [1, 2, 3])
def test_dpfp_is_the_products_that_it_says(nu):
    x = np.random.default_rng(0).normal(size=5)
    r = np.maximum(np.concatenate([x, -x]), 0)
    expected = [r[i] * r[(i - j) % 10] for j in range(1, nu + 1) for i in range(10)]
    np.testing.assert_allclose(dpfp(jnp.asarray(x), nu), expected, rtol=1e-6)
    assert (dpfp(jnp.ones((3, 4, 5)), nu).shape) == (3, 4, 10 * nu)


@pytest.mark.parametrize("name", FEATURES)
def test_features_act_on_each_step_alone(name):
    x = jax.random.normal(jax.random.key(0), (4, 6))
    each = jnp.stack([FEATURES[name](row) for row in x])
    np.testing.assert_allclose(FEATURES[name](x), each, rtol=1e-6)


def test_norms_have_norm_one_and_a_derivative_at_zero():
    x = jax.random.uniform(jax.random.key(0), (4, 6))
    np.testing.assert_allclose(jnp.linalg.norm(NORMS["unit"](x), axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(NORMS["sum"](x).sum(-1), 1, rtol=1e-6)
    for norm in NORMS.values():
        slope = jax.jacobian(norm)(jnp.zeros(3))
        assert np.isfinite(slope).all()
        assert np.array_equal(norm(jnp.zeros(3)), np.zeros(3))
