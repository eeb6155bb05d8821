"""CLASSP: only weights with large gradients learn, the more slowly the more they have learned.

  where g^2 > threshold   sum <- sum + |g|^power;   direction = g / (epsilon + sum)^(1 / power)
  elsewhere               sum stays;                direction = 0

Power 2 and threshold 0 are AdaGrad with epsilon inside the root. g is the clipped gradient.

Source: Ludwig 2024 (arXiv 2405.09637), the pseudo-code; the printed equation ends its sum at the
step before, and runs over all gradients. The form `released` is the authors' program: a tensor
learns as a whole, if any of its gradients is not 0 and threshold < 1, and sums |g| for any power.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from plasticity.factory import Factory
from plasticity.outer.optimizer import Optimizer
from plasticity.settings import Settings, setting
from plasticity.types import Array, PyTree, Scalar


@dataclasses.dataclass(frozen=True)
class ClasspSettings(Settings):
    """Settings of the optimizer."""

    section = "optimizer"
    threshold: float = setting(0.0, "squared gradient that changes nothing", low=0, traced=True)
    power: float = setting(2.0, "of the gradients in the sum", above=0, traced=True)
    epsilon: float = setting(1e-5, "added to the sum", above=0, traced=True)
    form: str = setting("paper", "pseudo-code or program", choices=("paper", "released"))


def scale_by_classp(
    threshold: Scalar, power: Scalar, epsilon: Scalar = 1e-5, form: str = "paper"
) -> optax.GradientTransformation:
    """The direction of CLASSP, for tensors of any shape; its state is the tree of sums."""

    def one(g: Array, total: Array) -> tuple[Array, Array]:
        paper = form == "paper"
        learns = g**2 > threshold if paper else jnp.any(g != 0) & (threshold < 1)
        total = jnp.where(learns, total + jnp.abs(g) ** (power if paper else 1), total)
        return jnp.where(learns, g / (epsilon + total) ** (1 / power), 0), total

    def update(grads: PyTree, sums: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        del params
        found = map(one, jax.tree.leaves(grads), jax.tree.leaves(sums))
        directions, after = zip(*found, strict=True)
        tree = jax.tree.structure(grads)
        return jax.tree.unflatten(tree, directions), jax.tree.unflatten(tree, after)

    return optax.GradientTransformation(lambda p: jax.tree.map(jnp.zeros_like, p), update)


def make(settings: ClasspSettings) -> Optimizer:
    """The optimizer. Weight decay would change the weights that it keeps."""
    s = settings
    return Optimizer(scale_by_classp(s.threshold, s.power, s.epsilon, s.form), decays=False)


classp = Factory(ClasspSettings, make)
