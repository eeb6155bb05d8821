"""Consolidation: after every update, fast weights flow into the slow weights of their layers.

  W <- W + rate mean_b w_b

w_b are the fast weights that episode b of the batch has at its end, alpha times their trace: they
have the shape of the slow matrix W of their layer. A plastic bias flows likewise. The outer
gradient does not pass through this flow. It is no part of the optimizer: it also moves weights that
an optimizer holds. Memory layers have no slow matrix of the shape of their memory, and keep all.

Source: fast and slow weights, of which the slow ones take up what the fast ones hold, Hinton and
Plaut 1987 and McClelland et al. 1995; the rate and the mean over a batch are ours.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import optax

from plasticity.types import Array, FastWeights, Key, LayerShape, PyTree, Scalar


class Consolidation(NamedTuple):
    """What flows. shuffled: a control, which moves each fast weight to a random place of its layer.

    The places are the same at every step, so that the flow adds up over steps as without shuffling.
    """

    shuffled: bool = False


def with_consolidation(
    slow: PyTree,
    fast: Mapping[str, FastWeights],
    rate: Scalar,
    settings: Consolidation | None,
    key: Key,
) -> tuple[PyTree, dict[str, Array]]:
    """The slow weights after the flow, and the norm [] of their change as `consolidated`.

    Without settings the weights stay as they are.

    Args:
      slow: parameters of a Linen module; see `check_layers`.
      fast: {layer: mean fast weights}.
      rate: the part that flows.
      settings: what flows.
      key: of the places in the control.
    """
    if settings is None:
        return slow, {}
    change = jax.tree.map(lambda a: rate * a, dict(fast))
    if settings.shuffled:
        change = _shuffled(change, key)
    for layer, (weight, bias) in change.items():
        slow = _added(slow, ("params", *layer.split("/")), {"kernel": weight.T, "bias": bias})
    return slow, {"consolidated": optax.tree.norm(change)}


def _shuffled(tree: PyTree, key: Key) -> PyTree:
    """The numbers of each leaf at random places of it."""
    leaves, structure = jax.tree.flatten(tree)
    moved = [
        jax.random.permutation(jax.random.fold_in(key, index), leaf.ravel()).reshape(leaf.shape)
        for index, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, moved)


def _added(tree: Mapping[str, PyTree], path: tuple[str, ...], change: Mapping) -> PyTree:
    """The tree, whose leaves at a path have changed; those that it lacks there do not."""
    if not path:
        return {**tree, **{name: tree[name] + change[name] for name in change if name in tree}}
    return {**tree, path[0]: _added(tree[path[0]], path[1:], change)}


def check_layers(slow: PyTree, layers: Mapping[str, LayerShape]) -> None:
    """Checks that every plastic layer has a slow matrix that its fast weights can flow into.

    Layer "block_0/fc1" needs slow["params"]["block_0"]["fc1"]["kernel"], [I, O].

    Args:
      slow: parameters, or their shapes.
      layers: of the network.

    Raises:
      ValueError: there is no plastic layer that is written, or one has no such matrix.
    """
    if not layers:
        raise ValueError("no plastic layer is written, and fast weights of other kinds do not flow")
    for layer, shape in layers.items():
        found = slow
        for part in ("params", *layer.split("/"), "kernel"):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        if getattr(found, "shape", ()) != (shape.inputs, shape.outputs):
            raise ValueError(
                f"layer {layer!r} has no slow matrix 'kernel' [{shape.inputs}, {shape.outputs}] at "
                "the path of its name"
            )
