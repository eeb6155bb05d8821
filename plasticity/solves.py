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


@jax.custom_jvp
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
        pairs, each = len(inverse) // 2, jnp.arange(len(inverse) // 2)
        width = inverse.shape[1]
        a, b = (inverse.reshape(pairs, 2, width, width)[:, half] for half in (0, 1))
        c = lower.reshape(pairs, 2, width, pairs, 2, width)[each, 1, :, each, 0]
        corner = -b @ c @ a
        upper = jnp.concatenate([a, jnp.zeros_like(corner)], 2)
        inverse = jnp.concatenate([upper, jnp.concatenate([corner, b], 2)], 1)
    return inverse[0, :size, :size]


@unit_lower_inverse.defjvp
def _slope(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Not by the steps above. Nor by `custom_linear_solve`, which fails in `jax.shard_map` where
    `jax.checkpoint` repeats it (jax 0.10.2)."""
    inverse = unit_lower_inverse(*primals)
    return inverse, inverse @ tangents[0] @ inverse


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
