"""Delta gradient descent of linear layers: a step that decays the weights along their inputs.

  W <- (1 + rate C)^-1 (W - rate G),   G = sum_n x_n g_n^T,   C = sum_n x_n x_n^T

of y = x W with inputs x_n and g_n = d loss / d y_n. It minimises over the new weights V

  sum_n |x_n V + g_n|^2 / 2 + |V - W|^2 / (2 rate)

exactly, for one example (Behrouz et al. 2025, arXiv 2512.24695, equations 56 and 57) and for many,
which the source does not treat. Both sums may be means. C is not in a gradient, so that this is no
Optax transform, and no optimizer of the programs: their gradients are means over devices,
microbatches and scans of steps, in which a layer has no one place where its inputs are at hand.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.solves import solve_positive
from plasticity.types import Array, PyTree, Scalar


def delta_step(params: PyTree, grads: PyTree, moments: PyTree, rate: Scalar) -> PyTree:
    """The parameters after a step.

    Args:
      params, grads: trees of one structure; kernels are [I, O].
      moments: the same tree with C [I, I] for a kernel and None for what takes a gradient step.
      rate: of the step.
    """

    def one(moment: Array | None, weight: Array, grad: Array) -> Array:
        after = weight - rate * grad
        if moment is None:
            return after
        system = jnp.eye(len(moment), dtype=moment.dtype) + rate * moment
        return solve_positive(system, after)

    return jax.tree.map(one, moments, params, grads, is_leaf=lambda leaf: leaf is None)


def input_moments(module: nn.Module, params: PyTree, *inputs: PyTree) -> PyTree:
    """`moments` of a Linen module, summed over all axes and calls: of the kernels of its `Dense`.

    `params` is what `module.apply` takes. Layers within `nn.scan` or `nn.vmap` are not seen.
    """
    found: dict[tuple[str, ...], Array] = {}

    def watch(call, args, kwargs, context):  # type: ignore[no-untyped-def]  # Flax's own interface
        if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
            rows = args[0].reshape(-1, args[0].shape[-1])
            path = ("params", *context.module.path, "kernel")
            found[path] = found.get(path, 0) + rows.T @ rows
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        module.apply(params, *inputs)

    def of(path: tuple[jax.tree_util.DictKey, ...], leaf: Array) -> Array | None:
        del leaf
        return found.get(tuple(key.key for key in path))

    return jax.tree_util.tree_map_with_path(of, params)
