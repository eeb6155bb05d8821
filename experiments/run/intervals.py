"""The confidence interval of a mean: the only one of this project."""

import math
from collections.abc import Sequence

import numpy as np
import scipy.special

LEVEL = 0.05  # of significance: intervals have the confidence level 1 - LEVEL


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The mean of n values, and half the width of its 95 % interval by Student's t.

    A single value has no interval: the second number is then nan. Of no value both are nan.
    """
    values, count = np.asarray(values, np.float64), len(values)
    if count < 2:
        return float(values[0]) if count else math.nan, math.nan
    quantile = float(scipy.special.stdtrit(count - 1, 1 - LEVEL / 2))
    return float(values.mean()), quantile * float(values.std(ddof=1)) / math.sqrt(count)
