"""Paired comparisons of seeds: intervals, effect sizes, p-values, verdicts.

Seeds are pairs: under every rule a seed starts from the same slow weights and sees the same
episodes. The unit is therefore a seed's mean, and a comparison is of differences within seeds.

With five pairs Student's interval covers what it says, and it agrees with the p-value; bootstrap
intervals of so few are too short (see the test). Both are given, and the first decides.
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
    low: float  # 95 % interval, Student's t over pairs
    high: float
    boot_low: float  # the same by bootstrap over pairs, bias-corrected and accelerated
    boot_high: float
    effect: float | None  # Hedges' g: mean / deviation of the differences, corrected for small n
    p: float  # paired t-test, two-sided
    n: int


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the 95 % interval by Student's t; nan for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan")
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean, float(scipy.special.stdtrit(len(values) - 1, 1 - LEVEL / 2)) * error


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
    # Equal but for rounding: t has no bounds. That all have one sign is all that is known.
    if deviation <= 1e-12 * max(abs(mean), 1e-30):
        p = 2.0 ** (1 - n) if mean else 1.0
        return Contrast(mean, mean, mean, mean, mean, None if mean else 0.0, p, n)
    _, half = interval(differences.tolist())
    # Exact correction of the bias of mean / deviation (Hedges 1981).
    free = (n - 1) / 2
    log_correction = scipy.special.gammaln(free) - scipy.special.gammaln(free - 0.5)
    correction = math.exp(log_correction) / math.sqrt(free) if n > 2 else 1.0
    p = float(scipy.stats.ttest_1samp(differences, 0).pvalue)
    effect = mean / deviation * correction
    return Contrast(mean, mean - half, mean + half, *_bootstrapped(differences), effect, p, n)


def _bootstrapped(differences: np.ndarray) -> tuple[float, float]:
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


class Judged(NamedTuple):
    """What the comparisons of a claim say together: which way, and how surely."""

    speaks_for: bool  # else against it, or neither
    p: float  # of what it says; 1: it says nothing


def together(contrasts: Sequence[Contrast]) -> Judged:
    """Several comparisons, each positive where it speaks for a claim that needs all of them.

    For it speak all (an intersection-union test: p is the largest). Against it speaks a single
    one, if none is significantly for it (p is the smallest, times their number: Bonferroni).
    """
    if contrasts and all(c.mean > 0 for c in contrasts):
        return Judged(True, max(c.p for c in contrasts))
    against = [c.p for c in contrasts if c.mean < 0]
    if not against or any(c.mean > 0 and c.p < LEVEL for c in contrasts):
        return Judged(False, 1.0)
    return Judged(False, min(1.0, min(against) * len(contrasts)))


def verdict(judged: Judged, adjusted: float) -> str:
    """ "supported" or "opposite" if the adjusted p-value says so, else "not supported"."""
    if adjusted >= LEVEL:
        return NOT_SUPPORTED
    return SUPPORTED if judged.speaks_for else OPPOSITE
