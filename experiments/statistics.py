"""Paired comparisons of seeds: intervals, effect sizes, p-values, verdicts.

Seeds are pairs: under every rule a seed starts from the same slow weights and sees the same
episodes. The unit is therefore a seed's mean, and a comparison is of differences within seeds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats

LEVEL = 0.05
RESAMPLES = 9999

SUPPORTED, NOT_SUPPORTED, OPPOSITE = "supported", "not supported", "opposite"


class Contrast(NamedTuple):
    """What is known of a mean difference, from n pairs."""

    mean: float
    low: float  # 95 % interval, bootstrap over pairs
    high: float
    effect: float  # Hedges' g of paired differences: mean / deviation, corrected for small n
    p: float  # paired t-test, two-sided
    n: int


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Contrast:
    """a - b, over the seeds {seed: value} that both have.

    Raises:
      ValueError: fewer than two seeds in common.
    """
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2:
        raise ValueError(f"a comparison needs at least two seeds in common, and there are {seeds}")
    return of_differences(np.array([a[seed] - b[seed] for seed in seeds], np.float64))


def of_differences(differences: np.ndarray) -> Contrast:
    """The contrast of differences [n], n > 1."""
    n, mean = len(differences), float(differences.mean())
    deviation = float(differences.std(ddof=1))
    # Equal but for rounding: nothing to resample, and t is without bounds.
    if deviation <= 1e-12 * max(abs(mean), 1e-30):
        certain = mean != 0
        infinite = math.copysign(math.inf, mean) if certain else 0.0
        return Contrast(mean, mean, mean, infinite, 0.0 if certain else 1.0, n)
    low, high = _interval(differences)
    # Exact correction of the bias of mean / deviation (Hedges 1981).
    half = (n - 1) / 2
    log_correction = scipy.special.gammaln(half) - scipy.special.gammaln(half - 0.5)
    correction = math.exp(log_correction) / math.sqrt(half) if n > 2 else 1.0
    p = float(scipy.stats.ttest_1samp(differences, 0).pvalue)
    return Contrast(mean, low, high, mean / deviation * correction, p, n)


def _interval(differences: np.ndarray) -> tuple[float, float]:
    """Bootstrap interval of the mean, bias-corrected and accelerated (Efron 1987)."""
    found = scipy.stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=1 - LEVEL,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979): at most LEVEL for any false rejection."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * _sorted(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted.tolist()


def _sorted(values: Sequence[float]) -> np.ndarray:
    return np.sort(np.asarray(values, np.float64))


def verdict(contrasts: Sequence[Contrast], adjusted: Sequence[float]) -> str:
    """What several comparisons say together of a claim, each positive where it speaks for it.

    "supported": all of them significantly. "opposite": some significantly against it, and none
    for it. Otherwise "not supported".
    """
    signs = [
        math.copysign(1, c.mean) if p < LEVEL else 0
        for c, p in zip(contrasts, adjusted, strict=True)
    ]
    if signs and all(sign > 0 for sign in signs):
        return SUPPORTED
    if any(sign < 0 for sign in signs) and not any(sign > 0 for sign in signs):
        return OPPOSITE
    return NOT_SUPPORTED
