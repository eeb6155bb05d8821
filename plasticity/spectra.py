"""How a weight matrix uses its directions, from its singular values s_1 >= s_2 >= ...

  condition_number   s_1 / s_r = ||W|| ||W^+||, r the rank, W^+ the pseudo-inverse
  rank               r, the singular values above eps max(O, I) s_1, eps of the dtype of W
  effective_rank     exp(-sum_i p_i log p_i),  p_i = s_i / sum_j s_j
  energy_1, energy_4 the share of sum_i s_i^2 that the largest one, or four, have

All but the rank do not change with the scale of W. W = 0, such as fast weights at the start of an
episode, has 0 everywhere. A matrix that is not of full rank has the condition number of its range,
where the usual definition says infinity; its rank tells. NaN or infinity in W gives NaN everywhere.

They are computed by NumPy in float64, and never inside a compiled program.

Source: Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality".
"""

from collections.abc import Callable, Mapping

import numpy as np

from plasticity.types import PyTree

LARGEST = (1, 4)  # how many singular values `energy_K` is of


def condition_number(values: np.ndarray) -> float:
    """s_1 / s_r of the r values [r] that count, in falling order; 0 if none does."""
    return float(values[0] / values[-1]) if len(values) else 0.0


def effective_rank(values: np.ndarray) -> float:
    """From 1 to r of r values [r], all above 0; 0 if there is none."""
    if not len(values):
        return 0.0
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def energy(values: np.ndarray, count: int) -> float:
    """The share of the first `count` of the values [r], squared; 0 if there is none."""
    squares = (values / values[0]) ** 2 if len(values) else np.zeros(1)
    return float(squares[:count].sum() / max(squares.sum(), 1.0))


MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "condition_number": condition_number,
    "rank": lambda values: float(len(values)),
    "effective_rank": effective_rank,
    "energy_1": lambda values: energy(values, LARGEST[0]),
    "energy_4": lambda values: energy(values, LARGEST[1]),
}


def measured(weight: np.ndarray) -> dict[str, float]:
    """All measures of a matrix [O, I], or their means over B matrices [B, O, I]."""
    if weight.ndim == 3:
        each = [measured(one) for one in weight]
        return {name: float(np.mean([own[name] for own in each])) for name in MEASURES}
    if not np.isfinite(weight).all():
        return dict.fromkeys(MEASURES, float("nan"))
    values = np.linalg.svd(weight.astype(np.float64), compute_uv=False)
    values = values[values > np.finfo(weight.dtype).eps * max(weight.shape) * values[0]]
    return {name: measure(values) for name, measure in MEASURES.items()}


def slow_matrix(slow: PyTree, layer: str) -> np.ndarray | None:
    """The slow weights [O, I] of a plastic layer, in its module's parameters.

    None: the module of that path has no matrix `kernel`, as that of another library may.
    """
    found = slow
    for part in ("params", *layer.split("/"), "kernel"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return None if found is None else np.asarray(found).T
