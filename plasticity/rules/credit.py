"""Credit of the layers of a small network that is a memory, for rules that descend its loss.

The credit of a layer z = W x is d loss / d z. The gradient of its weights is the outer product of
credit and x, so that `Write(-credit, x, rate, keep)` is a step of gradient descent.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity.types import Array, Read

Credits = dict[str, tuple[Array, Array]]  # {layer: (credit [O], its input [I])}


def pullback(f: Callable[[Read], Array], read: Read) -> tuple[Array, Callable[[Array], Credits]]:
    """What a network says, and the credit of its layers for it.

    Args:
      f: (read) -> any array; it calls read(x, layer) once for each layer.
      read: that of `Site.write`.

    Returns:
      f(read), and a function of d loss / d f(read), which returns the credits; the gradient of the
      weights of a layer is the outer product of its credit and its input.

    Raises:
      ValueError: a layer is read twice, or transposed.
    """
    sizes: dict[str, Array] = {}

    def measured(x: Array, layer: str = "", *, transposed: bool = False) -> Array:
        if transposed:
            raise ValueError(f"layer {layer!r} is read transposed: it has no credit for that")
        sizes[layer] = jnp.zeros_like(read(x, layer))
        return sizes[layer]

    def probed(probe: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        inputs: dict[str, Array] = {}

        def recorded(x: Array, layer: str = "", *, transposed: bool = False) -> Array:
            del transposed  # none is, see above
            if layer in inputs:
                raise ValueError(
                    f"layer {layer!r} is read twice: its credit would be of both reads"
                )
            inputs[layer] = x
            return read(x, layer) + probe[layer]

        return f(recorded), inputs

    f(measured)
    answer, back, inputs = jax.vjp(probed, sizes, has_aux=True)

    def credits(slope: Array) -> Credits:
        return {layer: (c, inputs[layer]) for layer, c in back(slope)[0].items()}

    return answer, credits


def credit(loss: Callable[[Read], Array], read: Read) -> Credits:
    """The credit of each layer of a memory for a loss.

    Args:
      loss: (read) -> []; it calls read(x, layer) once for each layer.
      read: that of `Site.write`.

    Returns:
      {layer: (credit [O], input [I])}, whose outer product is the gradient of the layer's weights.

    Raises:
      ValueError: a layer is read twice, or transposed.

    >>> import jax.numpy as jnp
    >>> w, x = jnp.ones((2, 3)), jnp.ones(3)
    >>> read = lambda x, layer="": w @ x
    >>> found = credit(lambda read: (read(x) ** 2).sum() / 2, read)
    >>> found[""][0].tolist()  # the layer's output
    [3.0, 3.0]
    """
    value, credits = pullback(loss, read)
    return credits(jnp.ones_like(value))
