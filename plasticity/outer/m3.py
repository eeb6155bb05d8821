"""M3, multi-scale momentum Muon: a fast and a slow momentum, both orthogonal, over an Adam scale.

  every step      M1 <- M1 + beta1 g;   V <- V + beta2 g^2
                  direction = (NS(M1) + slow_weight O2) / (sqrt(V) + epsilon)
  every f steps   M2 <- M2 + beta3 (sum of the last f gradients);   O2 <- NS(M2)

NS is the iteration of Newton and Schulz with Muon's coefficients. That is the form `literal`: sums
that forget nothing, and steps whose size is the inverse of the gradient's, which NS drops and V
has. The form `practical` has running means (of the last f gradients, their mean) in place of the
three sums, corrects V for its start at 0, and scales a direction to the root mean square `rms`.

Source: Behrouz et al. 2025 (arXiv 2512.24695), algorithm 1, as several independent implementations
agree on it; the paper itself was not consulted. The defaults are ours. All but slow weight matrices
take Adam's direction.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity.factory import Factory
from plasticity.outer.optimizer import Optimizer
from plasticity.settings import Settings, setting
from plasticity.types import Array, PyTree

COEFFICIENTS, ITERATIONS, EPSILON = (3.4445, -4.7750, 2.0315), 5, 1e-8


@dataclasses.dataclass(frozen=True)
class M3Settings(Settings):
    """Settings of the optimizer."""

    section = "optimizer"
    form: str = setting("practical", "means, or sums", choices=("practical", "literal"))
    beta1: float = setting(0.9, "of the fast momentum", low=0, below=1, traced=True)
    beta2: float = setting(0.999, "of the squared gradient", low=0, below=1, traced=True)
    beta3: float = setting(0.9, "of the slow momentum", low=0, below=1, traced=True)
    slow_weight: float = setting(0.5, "weight of the slow momentum", low=0, traced=True)
    every: int = setting(16, "steps between changes of the slow momentum", above=0)
    rms: float = setting(0.2, "root mean square of a step, if practical", above=0, traced=True)


class M3State(NamedTuple):
    """The memories of gradients."""

    steps: Array  # [] int32
    fast: PyTree  # M1
    square: PyTree  # V
    slow: PyTree  # M2
    pending: PyTree  # sum of the gradients since M2 changed
    orthogonal: PyTree  # O2


def newton_schulz(matrix: Array) -> Array:
    """About U V^T for the matrix U S V^T [I, O]; 0 for 0."""
    a, b, c = COEFFICIENTS
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (jnp.linalg.norm(x) + EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if x.shape == matrix.shape else x.T


def scale_by_m3(settings: M3Settings) -> optax.GradientTransformation:
    """The direction of M3, for trees of matrices [I, O]."""
    s, literal = settings, settings.form == "literal"

    def mixed(memory: Array, new: Array, beta: Array | float) -> Array:
        return memory + beta * new if literal else beta * memory + (1 - beta) * new

    def one(count: Array, g: Array, memory: M3State) -> tuple[Array, M3State]:
        fast, square = mixed(memory.fast, g, s.beta1), mixed(memory.square, g**2, s.beta2)
        root = jnp.sqrt(square if literal else square / (1 - s.beta2**count)) + EPSILON
        direction = (newton_schulz(fast) + s.slow_weight * memory.orthogonal) / root
        if not literal:
            size = jnp.sqrt(jnp.mean(direction**2))
            direction *= s.rms / jnp.where(size > 0, size, 1)
        pending = memory.pending + g

        def turned() -> tuple[Array, Array, Array]:
            slow = mixed(memory.slow, pending if literal else pending / s.every, s.beta3)
            return slow, jnp.zeros_like(g), newton_schulz(slow)

        kept = memory.slow, pending, memory.orthogonal
        rest = jax.lax.cond(count % s.every == 0, turned, lambda: kept)
        return direction, M3State(count, fast, square, *rest)

    def init(params: PyTree) -> M3State:
        zeros = (jax.tree.map(jnp.zeros_like, params) for _ in M3State._fields[1:])
        return M3State(jnp.zeros((), jnp.int32), *zeros)

    def update(grads: PyTree, state: M3State, params: PyTree = None) -> tuple[PyTree, M3State]:
        del params
        count, tree = state.steps + 1, jax.tree.structure(grads)
        each = zip(*map(jax.tree.leaves, (grads, *state[1:])), strict=True)
        found = [one(count, g, M3State(count, *memory)) for g, *memory in each]
        parts = zip(*((direction, *memory[1:]) for direction, memory in found), strict=True)
        directions, *after = (jax.tree.unflatten(tree, part) for part in parts)
        return directions, M3State(count, *after)

    return optax.GradientTransformation(init, update)


m3 = Factory(M3Settings, lambda s: Optimizer(scale_by_m3(s), matrices_only=True))
