"""Checks of the arguments of `plasticity.run`; all raise ValueError with the argument's name."""

import chex
import jax
import jax.numpy as jnp

from plasticity.network import Network, NetworkState, Parameters
from plasticity.pieces import initial_state
from plasticity.types import Array, PyTree


def check_shape(array: Array, shape: tuple[int, ...], name: str) -> None:
    """Checks the shape of an array, of any dtype.

    Args:
      array: anything with a shape.
      shape: what is right.
      name: of the array, for the message.

    Raises:
      ValueError: it has another shape.
    """
    chex.assert_shape(array, shape, custom_message=name, exception_type=ValueError)


def check_like(name: str, tree: PyTree, right: PyTree, *, dtypes: bool = False) -> None:
    """Checks structure and shapes of a tree; with `dtypes`, its types.

    Args:
      name: of the tree, for the message.
      tree: what is given.
      right: what is right; arrays or `jax.ShapeDtypeStruct`.
      dtypes: whether types have to agree, too.

    Raises:
      ValueError: it differs.
    """
    same = chex.assert_trees_all_equal_shapes
    same = chex.assert_trees_all_equal_shapes_and_dtypes if dtypes else same
    same(tree, right, custom_message=f"{name}, then what is right", exception_type=ValueError)


def leading_axes(name: str, tree: PyTree, *axes: str) -> tuple[int, ...]:
    """The sizes of the first axes, which all leaves share.

    Args:
      name: of the tree, for the message.
      tree: arrays [*axes, ...].
      *axes: their letters, such as "B", "T".

    Raises:
      ValueError: a leaf lacks an axis or has none of a size, or two leaves differ.
    """
    shapes = [jnp.shape(a) for a in jax.tree.leaves(tree)]
    sizes = {s[: len(axes)] for s in shapes}
    if len(sizes) != 1 or len(min(sizes)) < len(axes) or 0 in min(sizes):
        raise ValueError(f"{name} has leaves {shapes}: all need the axes [{', '.join(axes)}]")
    return sizes.pop()


def check_fit(
    network: Network,
    params: Parameters,
    state: NetworkState | None,
    episodes: int,
) -> None:
    """Checks that theta and state are of these layers, the state of so many episodes.

    Raises:
      ValueError: they are not; the message shows what is right.
    """
    rule, backbone = network.rule, network.backbone
    if not rule.static:  # otherwise nothing reads theta
        key = jax.random.key(0)
        right = jax.eval_shape(lambda: rule.init(key, backbone.shapes, backbone.head))
        check_like("theta", params.plasticity, right)
    if state is None:
        return
    fast = jax.eval_shape(lambda: initial_state(network, params, episodes)).fast
    if network.memory.grows:  # by the steps so far: only its kind is known
        chex.assert_trees_all_equal_structs(
            state.fast, fast, custom_message="state", exception_type=ValueError
        )
    else:
        check_like(f"state of B={episodes} episodes", state.fast, fast)
