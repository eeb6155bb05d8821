"""Comparisons against known cases, against scipy, and against simulated truth."""

import math

import numpy as np
import pytest
import scipy.stats

from plasticity.experiments.reports.statistics import (
    NOT_SUPPORTED,
    OPPOSITE,
    SUPPORTED,
    UNDECIDED,
    Contrast,
    Question,
    combine,
    holm,
    of_differences,
    paired,
    power_of,
    seeds_needed,
    smallest_effect,
    verdict,
)


def test_only_seeds_in_common_are_paired():
    found = paired({0: 1.0, 1: 3.0, 2: 9.0, 7: 100.0}, {2: 4.0, 1: 1.0, 0: 0.0, 8: -5.0})
    assert found.n == 3
    assert found.mean == pytest.approx((1 + 2 + 5) / 3)
    with pytest.raises(ValueError, match=r"two seeds in common.*\[0\]"):
        paired({0: 1.0, 1: 2.0}, {0: 1.0, 2: 2.0})


def test_p_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 9), rng.normal(0, 1, 9)
    found = paired(dict(enumerate(a)), dict(enumerate(b)))
    assert found.p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)


def test_effect_size_by_hand():
    """Of 1, 2, 3: mean 2, deviation 1, and J(2) = gamma(1) / (sqrt(1) gamma(1/2)) = 0.5642."""
    assert of_differences(np.array([1.0, 2.0, 3.0])).effect == pytest.approx(2 / math.sqrt(math.pi))


@pytest.mark.thorough
def test_effect_size_is_unbiased():
    rng = np.random.default_rng(1)
    effects = [of_differences(rng.normal(1, 2, 5)).effect for _ in range(4000)]
    assert np.mean(effects) == pytest.approx(0.5, abs=0.03)


@pytest.mark.thorough
def test_intervals_of_five_pairs_cover_the_truth_as_often_as_they_say():
    """They exclude 0 exactly where p < .05."""
    rng = np.random.default_rng(2)
    found = [of_differences(rng.normal(1, 2, 5)) for _ in range(4000)]
    assert np.mean([c.low <= 1 <= c.high for c in found]) == pytest.approx(0.95, abs=0.01)
    assert all((c.low <= 0 <= c.high) == (c.p >= 0.05) for c in found)


def test_differences_without_spread():
    """Four equal differences have the p-value of a sign test: 2 / 2**4."""
    assert of_differences(np.zeros(4)) == Contrast(0, 0, 0, 0, 1, 4, 0)
    same = of_differences(np.full(4, 0.1))
    assert (same.low, same.high, same.p, same.effect) == (same.mean, same.mean, 1 / 8, None)
    assert of_differences(np.full(2, 0.1)).p == 0.5


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []
    assert holm([0.02]) == [0.02]


def test_seeds_needed_and_smallest_effect():
    """Known sizes: a paired t-test sees one deviation over 10 pairs, half of one over 34."""
    assert seeds_needed(1.0, 1.0, 0.05) == 10
    assert seeds_needed(0.5, 1.0, 0.05) == 34
    assert seeds_needed(2.0, 4.0, 0.05) == 34
    assert seeds_needed(1e-3, 1.0, 0.05) is None
    for level, n in ((0.05, 6), (0.05 / 3, 7)):  # equal differences: a sign test
        assert seeds_needed(0.1, 0.0, level) == n
        assert of_differences(np.ones(n)).p < level < of_differences(np.ones(n - 1)).p
    for n, level in ((5, 0.05), (10, 0.003)):
        effect = smallest_effect(3.0, n, level)
        assert seeds_needed(effect * 1.0001, 3.0, level) == n
    assert (smallest_effect(0.0, 5, 0.05), smallest_effect(0.0, 6, 0.05)) == (None, 0)


def test_power_is_the_share_of_experiments_that_see_the_effect():
    draws = np.random.default_rng(0).normal(1.0, 1.0, (4000, 6))
    seen = scipy.stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert power_of(1.0, 1.0, 6, 0.05) == pytest.approx(seen.mean(), abs=0.02)


FOR, AGAINST, UNCLEAR = (1.0, 0.01), (-1.0, 0.01), (1.0, 0.3)


@pytest.mark.parametrize(
    ("found", "p", "expected"),
    [
        ([FOR, (1.0, 0.02)], 0.02, SUPPORTED),
        ([FOR, UNCLEAR], 0.3, UNDECIDED),
        ([UNCLEAR], 0.3, UNDECIDED),
        ([AGAINST], 0.01, OPPOSITE),
        ([AGAINST, UNCLEAR], 0.02, OPPOSITE),
        ([(-1.0, 0.04), UNCLEAR], 0.08, NOT_SUPPORTED),
        ([AGAINST, FOR], 1, NOT_SUPPORTED),
        ([(0.0, 1.0)], 1, NOT_SUPPORTED),
    ],
)
def test_verdicts(found, p, expected):
    """Intervals reach .5 beyond the means, and .6 would matter."""
    contrasts = [Contrast(mean, mean - 0.5, mean + 0.5, 0, p, 5, 1.0) for mean, p in found]
    test, questions = combine(contrasts), [Question(c, 0.6) for c in contrasts]
    assert test.p == pytest.approx(p)
    assert verdict(test, test.p, questions) == expected
    unseen = verdict(test, 0.05, questions)
    assert unseen == (NOT_SUPPORTED if any(c.mean <= 0 for c in contrasts) else UNDECIDED)
