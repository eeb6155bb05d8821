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
    is_tree = isinstance(array, dict | list | tuple)
    if is_tree or jnp.shape(array) != shape:
        found = f"is a {type(array).__name__}" if is_tree else f"has shape {jnp.shape(array)}"
        raise ValueError(f"{name} {found}, it should be of shape {shape}")


def check_like(name: str, tree: PyTree, right: PyTree, *, dtypes: bool = False) -> None:
    """Checks structure and shapes of a tree; with `dtypes`, its types. Names the first difference.

    Args:
      name: of the tree, for the message.
      tree: what is given.
      right: what is right; arrays or `jax.ShapeDtypeStruct`.
      dtypes: whether types have to agree, too.

    Raises:
      ValueError: it differs.
    """
    found, wanted = _leaves(tree, dtypes), _leaves(right, dtypes)
    wrong = [path for path in wanted | found if found.get(path) != wanted.get(path)]
    if wrong:
        path, others = wrong[0], len(wrong) - 1
        more = f", and {others} other leaves differ" if others else ""
        raise ValueError(
            f"{name}{path} is {found.get(path, 'missing')}, it should be "
            f"{wanted.get(path, 'absent')}{more}"
        )
    _check_kind(name, tree, right)


def _leaves(tree: PyTree, dtypes: bool) -> dict[str, str]:
    """{path: shape, with its dtype if wanted}."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path): f"{jnp.result_type(a) if dtypes else ''}{list(jnp.shape(a))}"
        for path, a in leaves
    }


def _check_kind(name: str, tree: PyTree, right: PyTree) -> None:
    """Raises ValueError unless both trees have the same containers, whatever their leaves."""
    chex.assert_trees_all_equal_structs(
        tree, right, custom_message=f"{name}, then what is right", exception_type=ValueError
    )


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
    held = {jnp.shape(a)[0] for a in jax.tree.leaves((state.fast, state.past)) if jnp.ndim(a)}
    if held - {episodes}:
        raise ValueError(f"state is of B={max(held)} episodes, it should be of B={episodes}")
    if network.memory.grows:
        fast = _grown(fast, state.fast)
    check_like(f"state of B={episodes} episodes", state.fast, fast)


def _grown(empty: PyTree, state: PyTree) -> PyTree:
    """The empty state with as many rows as `state` has: they grow by the steps so far."""
    _check_kind("state", state, empty)

    def rows(none: Array, some: Array) -> jax.ShapeDtypeStruct:
        pairs = zip(none.shape, some.shape, strict=False)
        shape = [there if size == 0 else size for size, there in pairs]
        return jax.ShapeDtypeStruct([*shape, *none.shape[len(shape) :]], none.dtype)

    return jax.tree.map(rows, empty, state)
