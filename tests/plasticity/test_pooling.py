"""Max pooling: two ways, of which each backend gets the faster, that agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.model import conv4

WAYS = [conv4._by_pairs, conv4._by_windows]


def windows(x):
    """[S, H, W, C] -> [S, H // 2, W // 2, C, 4]."""
    s, h, w, c = x.shape
    even = x[:, : h // 2 * 2, : w // 2 * 2].reshape(s, h // 2, 2, w // 2, 2, c)
    return np.moveaxis(even, (2, 4), (4, 5)).reshape(s, h // 2, w // 2, c, 4)


@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_goes_to_the_largest(way):
    x = jax.random.normal(jax.random.key(0), (3, 7, 5, 4))
    y, pull = jax.vjp(way, x)
    np.testing.assert_array_equal(y, windows(np.asarray(x)).max(-1))
    weight = jax.random.normal(jax.random.key(1), y.shape)
    largest = windows(np.asarray(x)) == np.asarray(y)[..., None]
    (gradient,) = map(np.asarray, pull(weight))
    np.testing.assert_array_equal(windows(gradient), largest * np.asarray(weight)[..., None])
    assert not gradient[:, 6].any()
    assert not gradient[:, :, 4].any()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_compared_with_the_maximum(way):
    """Such a gradient divides by the number of entries that equal it.

    It shares between equal entries. Where XLA computes an entry twice and rounds it differently,
    none equals the maximum: 0 / 0.
    """
    x = jnp.ones((1, 4, 6, 2))
    gradient = windows(np.asarray(jax.grad(lambda x: way(x).sum())(x)))
    np.testing.assert_array_equal(np.sort(gradient), np.broadcast_to([0, 0, 0, 1], gradient.shape))
    program = str(jax.make_jaxpr(jax.grad(lambda x: way(x).sum()))(x))
    assert " div " not in program
    assert " eq " not in program


def test_a_tpu_pools_by_windows_and_others_by_pairs():
    lowered = {
        platform: jax.jit(jax.grad(lambda x: conv4.halve(x).sum()))
        .trace(jnp.ones((1, 4, 4, 2)))
        .lower(lowering_platforms=(platform,))
        .as_text()
        for platform in ("tpu", "cpu", "cuda")
    }
    found = {platform: "select_and_scatter" in text for platform, text in lowered.items()}
    assert found == {"tpu": True, "cpu": False, "cuda": False}


@pytest.mark.parametrize("at", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_a_number_stays(way, at):
    assert np.isnan(way(jnp.ones((1, 2, 2, 1)).at[0, *at, 0].set(jnp.nan))).all()
