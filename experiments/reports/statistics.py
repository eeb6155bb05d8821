"""Paired comparisons of seeds: intervals, effect sizes, p-values, verdicts.

Seeds are paired: under every rule, a seed starts from the same slow weights and sees the same
episodes. The unit is a seed's mean over test episodes; comparisons are of differences within seeds.
Intervals are Student's t intervals, which agree with the p-values of the paired t-test.
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from plasticity.experiments.run.intervals import LEVEL, mean_interval

SUPPORTED, NOT_SUPPORTED, OPPOSITE = "supported", "not supported", "opposite"
UNDECIDED = "undecided"
POWER = 0.8  # the probability with which an effect is to be seen
MOST_SEEDS = 10_000
QUANTILES = 2_000


class Contrast(NamedTuple):
    """A mean difference between n pairs of seeds."""

    mean: float
    low: float  # 95 % interval, Student's t
    high: float
    effect: float | None  # Hedges' g; None where all differences are equal
    p: float  # paired t-test, two-sided
    n: int
    deviation: float  # of the differences, ddof 1


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Contrast:
    """a - b, over the seeds {seed: value} that both have; ValueError: these are fewer than two."""
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2:
        raise ValueError(f"a comparison needs at least two seeds in common, and there are {seeds}")
    return of_differences(np.array([a[seed] - b[seed] for seed in seeds], np.float64))


def of_differences(differences: np.ndarray) -> Contrast:
    """The contrast of differences [n], n > 1."""
    n, (mean, half) = len(differences), mean_interval(differences)
    deviation = float(differences.std(ddof=1))
    if deviation <= 1e-12 * max(abs(mean), 1e-30):
        # Equal but for rounding: t is unbounded. Only the common sign counts, as in a sign test.
        p = 2.0 ** (1 - n) if mean else 1.0
        return Contrast(mean, mean, mean, None if mean else 0.0, p, n, 0.0)
    # Exact correction of the bias of mean / deviation (Hedges 1981).
    free = (n - 1) / 2
    log_correction = scipy.special.gammaln(free) - scipy.special.gammaln(free - 0.5)
    correction = math.exp(log_correction) / math.sqrt(free) if n > 2 else 1.0
    p = float(scipy.stats.ttest_1samp(differences, 0).pvalue)
    effect = mean / deviation * correction
    return Contrast(mean, mean - half, mean + half, effect, p, n, deviation)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted by Holm's method (1979), which controls the family-wise error rate."""
    p = np.asarray(p_values, np.float64)
    order, adjusted = np.argsort(p), np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted.tolist()


class CombinedTest(NamedTuple):
    """The combined test of all contrasts of a claim."""

    supports: bool  # False: it contradicts the claim, or is undecided
    p: float  # 1: undecided


def combine(contrasts: Sequence[Contrast]) -> CombinedTest:
    """Tests a claim that needs all of several contrasts to be positive.

    In favour: all are positive; p is the largest (intersection-union test). Against: one is
    negative and none is significantly positive; p is the smallest of the negative ones, times the
    number of contrasts (Bonferroni).
    """
    if contrasts and all(c.mean > 0 for c in contrasts):
        return CombinedTest(True, max(c.p for c in contrasts))
    negative = [c.p for c in contrasts if c.mean < 0]
    if not negative or any(c.mean > 0 and c.p < LEVEL for c in contrasts):
        return CombinedTest(False, 1.0)
    return CombinedTest(False, min(1.0, min(negative) * len(contrasts)))


def power_of(effect: float, deviation: float, n: int, level: float) -> float:
    """The probability that a paired, two-sided t-test over n pairs sees a mean difference.

    Given the sample deviation, t is normal; so the probability is a mean over quantiles of that
    deviation, which is chi-distributed. (`scipy.stats.nct` is nan at some effects.)

    Args:
      effect: the mean difference, positive. deviation: of the differences.
      level: of significance.
    """
    critical = scipy.special.stdtrit(n - 1, 1 - level / 2)
    quantiles = scipy.special.chdtri(n - 1, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    bound = critical * np.sqrt(quantiles / (n - 1))
    shift = effect / deviation * math.sqrt(n)
    return float(np.mean(scipy.special.ndtr(shift - bound) + scipy.special.ndtr(-shift - bound)))


def smallest_effect(deviation: float, n: int, level: float) -> float | None:
    """The smallest mean difference that is seen with a probability of POWER; see `power_of`.

    None: with equal differences a sign test decides, see `of_differences`, which sees nothing with
    so few pairs.
    """
    if deviation == 0:
        return 0.0 if 2.0 ** (1 - n) < level else None

    def missing(effect: float) -> float:
        return power_of(effect * deviation, deviation, n, level) - POWER

    most = 2.0
    while missing(most) < 0:
        most *= 2
    return deviation * float(scipy.optimize.brentq(missing, 0.0, most))


def seeds_needed(effect: float, deviation: float, level: float) -> int | None:
    """The fewest pairs over which a mean difference is seen; None: more than MOST_SEEDS."""
    if deviation == 0:  # a sign test then, see `of_differences`
        return 1 + math.ceil(-math.log2(level))
    sizes = range(2, MOST_SEEDS + 1)
    seen = bisect.bisect_left(
        sizes, True, key=lambda n: power_of(effect, deviation, n, level) >= POWER
    )
    return sizes[seen] if seen < len(sizes) else None


class Question(NamedTuple):
    """A contrast, and the smallest mean that it would have to have in order to matter.

    Both include the margin of the claim: with a negative one, a small difference in the claimed
    direction is a negative contrast. With a positive one, which a claim "at least as good, but for
    the margin" has, every positive contrast is what is claimed.
    """

    contrast: Contrast
    matters: float
    margin: float = 0.0

    @property
    def excluded(self) -> bool:
        """Whether every mean that would matter lies above the interval.

        Equal differences of a few pairs have an interval without width, and exclude nothing.
        """
        equal = self.contrast.deviation == 0 and 2.0 ** (1 - self.contrast.n) >= LEVEL
        return not equal and self.contrast.high < (0 if self.margin > 0 else self.matters)

    @property
    def too_small(self) -> bool:
        """Whether the contrast is negative only for the margin: the difference is not."""
        return self.margin <= self.contrast.mean < 0


def verdict(test: CombinedTest, p_adjusted: float, questions: Sequence[Question]) -> str:
    """What can be said about a claim.

    SUPPORTED or OPPOSITE where the adjusted p-value is significant; NOT_SUPPORTED if it is so for
    a difference in the claimed direction that is smaller than claimed. Otherwise NOT_SUPPORTED
    where an effect that would matter is excluded for one of the contrasts, which all have to hold;
    else UNDECIDED: such effects may be there, and the seeds were too few to see them.
    """
    if p_adjusted < LEVEL:
        less = not test.supports and any(q.too_small for q in questions)
        return SUPPORTED if test.supports else NOT_SUPPORTED if less else OPPOSITE
    return NOT_SUPPORTED if any(q.excluded for q in questions) else UNDECIDED
