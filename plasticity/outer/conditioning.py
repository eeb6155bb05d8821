"""KappaTune: only the weight matrices with the smallest condition numbers are trained.

  kappa(W) = largest / smallest singular value of the initial W

Source: Ludwig 2025 (arXiv 2506.16289), which trains the best `count` and freezes all other tensors,
biases and norms among them; `below` is ours. Departure: a kernel with more than two axes counts as
the matrix of all axes but its last; the release takes the singular values of its trailing matrices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from plasticity.types import Array, PyTree


def condition_number(weight: Array) -> Array:
    """kappa [] of a matrix, infinity if it is singular; of [..., O] as the matrix [-1, O]."""
    values = jnp.linalg.svd(weight.reshape(-1, weight.shape[-1]), compute_uv=False)
    return jnp.where(values[-1] > 0, values[0] / values[-1], jnp.inf)


def train_best_conditioned(
    count: int = 0,
    below: float = 0.0,
    among: Callable[[PyTree], PyTree] = lambda params: jax.tree.map(lambda _: True, params),
) -> optax.GradientTransformation:
    """Sets all updates to zero but those of the best conditioned matrices; the state says which.

    Args:
      count: how many matrices are trained; 0: any number.
      below: the largest condition number of those; 0: any.
      among: parameters -> a tree of bool; tensors where it is False are trained in any case.
    """

    def kappa(leaf: Array, asked: bool) -> Array:
        return condition_number(leaf) if asked and leaf.ndim > 1 else jnp.array(jnp.inf, leaf.dtype)

    def init(params: PyTree) -> PyTree:
        leaves, tree = jax.tree.flatten(params)
        asked = jax.tree.leaves(among(params))
        kappas = jnp.stack([kappa(*pair) for pair in zip(leaves, asked, strict=True)])
        ranks = jnp.argsort(jnp.argsort(kappas))
        chosen = (kappas <= (below or jnp.inf)) & jnp.isfinite(kappas)
        chosen &= ranks < (count or len(leaves))
        return jax.tree.unflatten(tree, list(chosen | ~jnp.array(asked)))

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        del params
        return jax.tree.map(lambda u, trained: jnp.where(trained, u, 0), updates, state), state

    return optax.GradientTransformation(init, update)
