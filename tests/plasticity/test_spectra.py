"""Measures of matrices whose singular values are known."""

import numpy as np
import pytest

from plasticity.spectra import MEASURES, measured, slow_matrix


def matrix(values, shape=(7, 5), seed=0):
    """A matrix with these singular values."""
    rng, count = np.random.default_rng(seed), len(values)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0][:, :count] for n in shape)
    return left * np.asarray(values) @ right.T


def test_measures_are_their_definitions():
    found = measured(matrix([4.0, 2.0, 1.0, 1.0]))
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    assert found["condition_number"] == pytest.approx(4)  # of its range: the rank is 4 of 5
    assert found["rank"] == 4
    assert found["effective_rank"] == pytest.approx(2 ** -(shares @ np.log2(shares)))
    assert found["energy_1"] == pytest.approx(16 / 22)
    assert found["energy_4"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "condition", "rank"), [([3.0], 1, 1), ([2.0] * 5, 1, 5), ([9.0, 3.0], 3, 2)]
)
def test_one_direction_counts_as_one_and_equal_ones_as_all(values, condition, rank):
    found = measured(matrix(values))
    assert found["condition_number"] == pytest.approx(condition)
    assert found["rank"] == rank
    if len(set(values)) == 1:
        assert found["effective_rank"] == pytest.approx(rank)
        assert found["energy_1"] == pytest.approx(1 / rank)
    else:
        assert 1 < found["effective_rank"] < rank


def test_scale_and_rotation_change_nothing():
    one = matrix([5.0, 2.0, 1.0, 0.5, 0.1]).astype(np.float32)
    for other in (1e6 * one, 1e-6 * one, one.T, matrix([5.0, 2.0, 1.0, 0.5, 0.1], seed=1)):
        assert measured(other) == pytest.approx(measured(one), rel=1e-4)


def test_condition_number_of_a_regular_matrix_is_that_of_numpy():
    square = np.random.default_rng(0).normal(size=(6, 6))
    assert measured(square)["condition_number"] == pytest.approx(np.linalg.cond(square))
    assert measured(square)["rank"] == np.linalg.matrix_rank(square)


def test_a_sum_of_outer_products_in_float32_has_their_rank():
    """Rounding does not count as a direction."""
    rng = np.random.default_rng(0)
    written = rng.normal(size=(40, 3)).astype(np.float32) @ rng.normal(size=(3, 30))
    assert measured(written.astype(np.float32))["rank"] == 3


def test_what_is_zero_or_not_finite_has_defined_values():
    assert measured(np.zeros((3, 4), np.float32)) == dict.fromkeys(MEASURES, 0.0)
    broken = np.eye(3)
    broken[0, 0] = np.inf
    assert all(np.isnan(value) for value in measured(broken).values())


def test_of_several_matrices_the_means():
    both = np.stack([matrix([1.0]), matrix([1.0, 1.0])])
    assert measured(both)["effective_rank"] == pytest.approx(1.5)


def test_the_slow_matrix_of_a_layer_is_outputs_by_inputs():
    kernel = np.arange(6.0).reshape(2, 3)
    slow = {"params": {"block_0": {"fc1": {"kernel": kernel}}}}
    np.testing.assert_array_equal(slow_matrix(slow, "block_0/fc1"), kernel.T)
    assert slow_matrix(slow, "block_0/fc2") is None
    assert slow_matrix({"carry": ()}, "hid") is None
