"""Credit of the layers of a small network that is a memory, for rules that descend its loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity.types import Array, Read


def credit(loss: Callable[[Read], Array], read: Read) -> dict[str, tuple[Array, Array]]:
    """What a rule writes to each layer of a small network, to descend its loss.

    Args:
      loss: (read) -> [], which calls read(x, layer) once for each layer.
      read: that of `Site.write`.

    Returns:
      {layer: (credit [O], its input [I])}; the gradient of its weights is their outer product.
    """
    sizes: dict[str, Array] = {}

    def measured(x: Array, layer: str) -> Array:
        sizes[layer] = jnp.zeros_like(read(x, layer))
        return sizes[layer]

    def probed(probe: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        inputs: dict[str, Array] = {}

        def recorded(x: Array, layer: str) -> Array:
            inputs[layer] = x
            return read(x, layer) + probe[layer]

        return loss(recorded), inputs

    loss(measured)
    credits, inputs = jax.grad(probed, has_aux=True)(sizes)
    return {layer: (credits[layer], x) for layer, x in inputs.items()}
