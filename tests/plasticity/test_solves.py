"""Linear systems in matrix products alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.associate import associate
from plasticity.rules import RULES
from plasticity.solves import solve_positive, solve_unit_lower, unit_lower_inverse
from plasticity.types import Token


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), float)


def substituted(system, known):
    return jnp.linalg.solve(jnp.eye(len(system)) - system, known)


def twice(solve, matrix, known):
    """A solution, its gradients, and gradients of these: rules are differentiated twice."""

    def inner(a, b):
        return jnp.sin(solve(a, b)).sum()

    def outer(a, b):
        return sum((g**2).sum() for g in jax.grad(inner, (0, 1))(a, b))

    run = jax.jit(lambda a, b: (solve(a, b), *(jax.grad(f, (0, 1))(a, b) for f in (inner, outer))))
    return jax.tree.leaves(run(matrix, known))


@pytest.mark.parametrize("size", [1, 5, 8])
def test_solutions_and_derivatives_are_those_of_lapack(size, x64):
    root = normal(1, size, size)
    triangle, positive = jnp.tril(root, -1), root @ root.T + 0.1 * jnp.eye(size)
    # Above the diagonal nothing has a meaning, nor a change of one half of a symmetric matrix.
    for ours, theirs, matrix, part in (
        (solve_unit_lower, substituted, triangle, lambda g: jnp.tril(g, -1)),
        (solve_positive, jnp.linalg.solve, positive, lambda g: g + g.T),
    ):
        known = normal(2, size)
        both = zip(twice(ours, matrix, known), twice(theirs, matrix, known), strict=True)
        for found, right in both:
            square = found.ndim == 2
            found, right = (part(found), part(right)) if square else (found, right)
            np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-8)


def test_the_inverse_forms_no_huge_number():
    """Writes at rate 2, equal keys: entries of the inverse are up to 2, of powers up to 1e13."""
    system = -2 * jnp.tri(32, k=-1)
    exact = np.linalg.inv(np.eye(32) - np.asarray(system, float))
    np.testing.assert_allclose(unit_lower_inverse(system), exact, atol=1e-5)


@pytest.mark.parametrize("name", ["delta", "mesa"])
def test_no_program_calls_lapack(name):
    """Two of them in flight would wait for each other's threads, see `plasticity.solves`."""
    x = jnp.ones((2, 3, 4))
    gates = {"ridge": x} if name == "mesa" else {}

    def loss(x, gates):
        run = jax.vmap(lambda x, gates: associate(RULES[name](), Token(x, x, x, gates=gates))[0])
        return run(x, gates).sum()

    text = jax.jit(jax.grad(loss)).lower(x, gates).as_text()
    assert "lapack" not in text
    assert "custom_call" not in text
