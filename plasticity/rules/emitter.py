"""Small nets that emit a vector for a layer from what the layer itself knows."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from plasticity.types import Activity, Array, Key, LayerShape


def init_emitters(
    key: Key, shapes: Mapping[str, LayerShape], hidden: int
) -> dict[str, tuple[Array, ...]]:
    """The matrices of each layer's emitter, U(-1 / sqrt(inputs), 1 / sqrt(inputs)).

    Args:
      key: of the initial values. shapes: of the layers.
      hidden: units between the two matrices of an emitter; 0: it has one matrix.
    """
    made = {}
    for layer_key, (name, shape) in zip(
        jax.random.split(key, max(len(shapes), 1)), sorted(shapes.items()), strict=False
    ):
        seen = shape.inputs + shape.outputs + 1
        widths = [seen, *([hidden] if hidden else []), shape.outputs]
        keys = jax.random.split(layer_key, len(widths) - 1)
        made[name] = tuple(
            jax.random.uniform(k, (o, i), jnp.float32, minval=-(i**-0.5), maxval=i**-0.5)
            for k, i, o in zip(keys, widths[:-1], widths[1:], strict=True)
        )
    return made


def emit(matrices: Sequence[Array], layer: Activity) -> Array:
    """What an emitter says, [O], of a layer's input and linear output."""
    x = jnp.concatenate([layer.pre, layer.post, jnp.ones_like(layer.post[:1])])
    for matrix in matrices[:-1]:
        x = jax.nn.relu(matrix @ x)
    return matrices[-1] @ x
