"""Linear systems in matrix products alone.

They are not solved by LAPACK. On a CPU its batched routines wait for tasks of the thread pool that
they run on: two programs in flight, each at a solve, stop each other for ever where the pool has
two threads (jaxlib 0.10.2). On accelerators a solve takes its rows one after the other.
"""

import jax
import jax.numpy as jnp

from plasticity.spans import fill
from plasticity.types import Array


def solve_unit_lower(system: Array, known: Array) -> Array:
    """(1 - system)^-1 known, for a strictly lower triangular system [n, n] and known [n, ...]."""
    return unit_lower_inverse(system) @ known


def unit_lower_inverse(system: Array) -> Array:
    """(1 - system)^-1, whose diagonal blocks are joined in pairs, log2 of n times.

    [[a, 0], [c, b]]^-1 = [[a', 0], [-b' c a', b']],  a', b' the inverses of a and b

    Unlike the series 1 + system + system^2 + ..., whose terms may be huge where the sum is not, it
    forms no number much larger than those of the inverse.
    """
    size = len(system)
    inverse = jnp.eye(size, dtype=system.dtype)
    half = 1
    while half < size:
        block = jnp.arange(size) // half
        joined = (block[:, None] == block + 1) & (block % 2 == 0)
        corners = jnp.where(joined, system, 0)
        inverse += corners if half == 1 else inverse @ corners @ inverse
        half *= 2
    return inverse


def solve_positive(matrix: Array, known: Array) -> Array:
    """matrix^-1 known, for a symmetric positive definite matrix [n, n] and known [n].

    By elimination without exchange of rows, which such a matrix does not need.
    """

    def solve(matvec: object, b: Array) -> Array:
        del matvec
        whole = jnp.concatenate([jax.lax.stop_gradient(matrix), b[:, None]], 1)

        def eliminate(row: int, whole: Array) -> Array:
            pivot = whole[row] / whole[row, row]
            rest = whole - jnp.outer(whole[:, row], pivot)
            return rest.at[row].set(pivot)

        return jax.lax.fori_loop(0, len(matrix), eliminate, whole)[:, -1]

    return jax.lax.custom_linear_solve(lambda x: matrix @ x, known, solve, symmetric=True)
