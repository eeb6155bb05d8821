"""M3, multi-scale momentum Muon: a fast and a slow momentum, both orthogonal, over an Adam scale.

  every step      M1 <- M1 + beta1 g;   V <- V + beta2 g^2
                  direction = (NS(M1) + slow_weight NS(M2)) / (sqrt(V) + epsilon)
  every f steps   M2 <- M2 + beta3 (sum of the last f gradients)

NS is the iteration of Newton and Schulz with Muon's coefficients. That is the form `literal`, whose
steps have the inverse size of the gradient, since NS drops it. The form `practical` has running
means in place of sums, corrects V for its start at 0, and gives a step the root mean square `rms`.

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
from plasticity.registry import exportable
from plasticity.settings import Settings, setting
from plasticity.types import Array, PyTree, Scalar

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


exportable(M3State)


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

    def mixed(memory: PyTree, new: PyTree, beta: Scalar) -> PyTree:
        keep, gain = (1, beta) if literal else (beta, 1 - beta)
        return jax.tree.map(lambda m, g: keep * m + gain * g, memory, new)

    def direction(fast: Array, slow: Array, square: Array) -> Array:
        both = newton_schulz(fast) + s.slow_weight * newton_schulz(slow)
        found = both / (jnp.sqrt(square) + EPSILON)
        size = jnp.sqrt(jnp.mean(found**2))
        return found if literal else s.rms * found / jnp.where(size > 0, size, 1)

    def init(params: PyTree) -> M3State:
        zeros = (jax.tree.map(jnp.zeros_like, params) for _ in M3State._fields[1:])
        return M3State(jnp.zeros((), jnp.int32), *zeros)

    def update(grads: PyTree, state: M3State, params: PyTree = None) -> tuple[PyTree, M3State]:
        del params
        steps, fast = state.steps + 1, mixed(state.fast, grads, s.beta1)
        square = mixed(state.square, jax.tree.map(jnp.square, grads), s.beta2)
        corrected = jax.tree.map(lambda v: v if literal else v / (1 - s.beta2**steps), square)
        directions = jax.tree.map(direction, fast, state.slow, corrected)
        pending = jax.tree.map(jnp.add, state.pending, grads)
        share = jax.tree.map(lambda g: g if literal else g / s.every, pending)
        over = steps % s.every == 0
        turned, kept = mixed(state.slow, share, s.beta3), state.slow
        slow = jax.tree.map(lambda new, old: jnp.where(over, new, old), turned, kept)
        pending = jax.tree.map(lambda g: jnp.where(over, 0, g), pending)
        return directions, M3State(steps, fast, square, slow, pending)

    return optax.GradientTransformation(init, update)


m3 = Factory(M3Settings, lambda s: Optimizer(scale_by_m3(s), matrices_only=True))
