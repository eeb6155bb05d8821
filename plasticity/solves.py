"""Linear systems, solved by matrix products alone.

LAPACK is avoided. On a CPU its batched routines wait for tasks of the thread pool that
they run on: two programs in flight, each at a solve, stop each other for ever where the pool has
two threads (jaxlib 0.10.2). On accelerators a solve takes its rows one after the other.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity.spans import corners, fill
from plasticity.types import Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _solve(invert: Callable[[Array], Array], matrix: Array, known: Array) -> Array:
    """matrix^-1 known; differentiated as a solve, not through the steps of `invert`."""
    return invert(matrix) @ known


@_solve.defjvp
def _(
    invert: Callable[[Array], Array],
    primals: tuple[Array, Array],
    tangents: tuple[Array, Array],
) -> tuple[Array, Array]:
    (matrix, known), (of_matrix, of_known) = primals, tangents
    inverse = invert(matrix)
    answer = inverse @ known
    return answer, inverse @ (of_known - of_matrix @ answer)


def solve_unit_lower(system: Array, known: Array) -> Array:
    """(1 - system)^-1 known, for a strictly lower triangular system [n, n] and known [n, ...]."""
    return _solve(_unit_lower, jnp.eye(len(system), dtype=system.dtype) - system, known)


def _unit_lower(matrix: Array) -> Array:
    return unit_lower_inverse(jnp.eye(len(matrix), dtype=matrix.dtype) - matrix)


def unit_lower_inverse(system: Array) -> Array:
    """(1 - system)^-1, whose diagonal blocks are joined in pairs, log2 of n times.

    [[a, 0], [c, b]]^-1 = [[a', 0], [-b' c a', b']],  a', b' the inverses of a and b

    Unlike the series 1 + system + system^2 + ..., whose terms may be huge where the sum is not, it
    forms no number much larger than those of the inverse.
    """
    size = len(system)
    lower = -jnp.pad(system, (0, fill(size)))
    inverse = jnp.ones((len(lower), 1, 1), system.dtype)
    while len(inverse) > 1:
        a, b = inverse[0::2], inverse[1::2]
        corner = -b @ corners(lower, len(a)) @ a
        upper = jnp.concatenate([a, jnp.zeros_like(corner)], 2)
        inverse = jnp.concatenate([upper, jnp.concatenate([corner, b], 2)], 1)
    return inverse[0, :size, :size]


def solve_positive(matrix: Array, known: Array) -> Array:
    """matrix^-1 known, for a symmetric positive definite matrix [n, n] and known [n]."""
    return _solve(_eliminated, matrix, known)


def _eliminated(matrix: Array) -> Array:
    """The inverse, by elimination without exchange of rows, which such a matrix does not need."""
    size = len(matrix)
    whole = jnp.concatenate([matrix, jnp.eye(size, dtype=matrix.dtype)], 1)

    def eliminate(whole: Array, row: Array) -> tuple[Array, None]:
        pivot = whole[row] / whole[row, row]
        return (whole - jnp.outer(whole[:, row], pivot)).at[row].set(pivot), None

    return jax.lax.scan(eliminate, whole, jnp.arange(size))[0][:, size:]
