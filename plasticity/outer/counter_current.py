"""Counter-current learning: no gradient crosses a layer of the network.

  a_0 = x,        a_l = up_l(stop(a_{l-1}))           the network, l = 1 to L; a_L are its answers
  b_L = one-hot,  b_{l-1} = down_l(stop(b_l))         its mirror, from each of N classes downwards
  loss_l = match_l                                                                  l = 0 to L - 1
         + spread (mean_j (<a_l, a_l^j> - [j is this example])^2 + mean (b_l b_l^T - I)^2)
  match_l = mean_c (<a_l, b_l^c> - [c is the label])^2                       with temperature = 0
            - log softmax_c (<a_l, b_l^c> / temperature) at the label        otherwise
  loss_L = cross-entropy of a_L

In loss_l activities are flat, centred over the examples of the batch, or over the classes, and of
unit length; j runs over the examples. loss_l depends on two layers only: up_l, which makes a_l of a
constant, and down_{l+1}, which makes b_l of a constant. Each is the other's teacher: the classes
come from above, the inputs from below. loss_0 trains down_1 alone, loss_L up_L alone.

Source: Kao and Hariharan 2024 (arXiv 2409.19841). The abstract and the authors' released code were
at hand, the equations of the paper were not. Departures from the code: activities are centred,
without which the common part of rectified activities outweighs what differs between classes; the
softmax, since squares of many classes are mostly about pairs that do not match; examples that are
answered well count like others; any optimizer of the outer loop, where the code has SGD with
centred gradients. The code has spread = .5 for convolutional nets, and 0 for others.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.features import unit
from plasticity.types import Array

Layer = Callable[[Array], Array]  # activities [S, ...] -> [S, ...]


def ascend(layers: Sequence[Layer], x: Array, local: bool) -> list[Array]:
    """The activities [x, a_1, ..., a_L] of layers in turn.

    Args:
      layers: the network, or its mirror from the top.
      x: [S, ...].
      local: whether the gradient stops between layers. The activities are the same.
    """
    found = [x]
    for layer in layers:
        below = jax.lax.stop_gradient(found[-1]) if local else found[-1]
        found.append(layer(below))
    return found


class Alignment(NamedTuple):
    """Settings of the local losses; the defaults are those of the source for dense layers."""

    temperature: float = 0.0  # of a softmax over classes; 0: squares
    spread: float = 0.0  # weight of the two terms that keep examples, and classes, apart


def alignment(a: Array, b: Array, labels: Array, settings: Alignment) -> Array:
    """loss_l [S] of each example.

    Args:
      a: activities of S examples, [S, ...]; of a single one, centred, nothing is left.
      b: the mirror's activities for N classes, [N, ...], of the same size.
      labels: one-hot, [S, N].
      settings: of the losses.
    """
    a, b = (unit(x - x.mean(0)) for x in (y.reshape(len(y), -1) for y in (a, b)))
    if settings.temperature:
        match = -(jax.nn.log_softmax(a @ b.T / settings.temperature) * labels).sum(1)
    else:
        match = jnp.square(a @ b.T - labels).mean(1)
    examples = jnp.square(a @ a.T - jnp.eye(len(a), dtype=a.dtype)).mean(1)
    classes = jnp.square(b @ b.T - jnp.eye(len(b), dtype=b.dtype)).mean()
    return match + settings.spread * (examples + classes)


def counter_current(
    layers: Sequence[Layer],
    mirrors: Sequence[Layer],
    x: Array,
    labels: Array,
    settings: Alignment = Alignment(),
) -> tuple[Array, Array]:
    """The answers of a network, and the losses that train all of it but its last layer.

    Args:
      layers: up_1 to up_L. mirrors: down_1 to down_L.
      x: inputs, [S, ...]. labels: one-hot, [S, N].
      settings: of the losses.

    Returns:
      Answers [S, N], whose cross-entropy trains the last layer, and loss_0 to loss_{L-1}, [L, S].

    Raises:
      ValueError: there are not as many mirrors as layers, or a mirror returns another size than
        the layer receives.
    """
    if len(layers) != len(mirrors):
        raise ValueError(f"{len(layers)} layers have {len(mirrors)} mirrors: each needs its own")
    upwards = ascend(layers, x, local=True)
    classes = jnp.eye(labels.shape[-1], dtype=x.dtype)
    downwards = ascend(mirrors[::-1], classes, local=True)[::-1]
    losses = []
    for level, (a, b) in enumerate(zip(upwards[:-1], downwards[:-1], strict=True)):
        if a[0].size != b[0].size:
            raise ValueError(
                f"mirror {level} returns activities of {b[0].size} numbers, but layer {level} "
                f"receives {a[0].size}"
            )
        losses.append(alignment(a, b, labels, settings))
    return upwards[-1], jnp.stack(losses)
