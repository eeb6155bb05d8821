"""A linear layer with slow weights of its own, to which the caller adds a fast part."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import FastRead
from plasticity.model.linear import uniform
from plasticity.shares import Share
from plasticity.types import Activity, Array

Initializer = Callable[..., Array]


class PlasticDense(nn.Module):
    """post = W pre + b + fast(name, pre), where `name` is the module's path.

    Attributes:
      features: O.
      plastic: False: an ordinary dense layer, without fast part and activity.
      kernel_init, bias_init: of W [I, O] and b [O]; None: U(-1/sqrt(I), 1/sqrt(I)).
      share, side: of a layer of which devices have a part each: of its "outputs" or its "inputs".
    """

    features: int
    plastic: bool = True
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None
    share: Share | None = None
    side: str | None = None

    @nn.compact
    def __call__(self, pre: Array, fast: FastRead) -> tuple[Array, dict[str, Activity]]:
        """Maps pre [S, I] to post [S, O].

        Returns:
          post, and {name: Activity}, which is empty if the layer is not plastic. Its `activation`
          is `post` until `activated` replaces it, and its `credit` is zero.
        """
        default = uniform(pre.shape[-1] ** -0.5)
        shape = (pre.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init or default, shape, jnp.float32)
        bias = self.param("bias", self.bias_init or default, shape[1:], jnp.float32)
        name, x = "/".join(self.path), pre
        if self.share is not None and self.side == "outputs":
            x = self.share.enter(pre)
        parts = [x @ kernel, fast(name, x)] if self.plastic else [x @ kernel]
        if self.share is not None and self.side == "inputs":
            parts = self.share.leave(parts)
        slow = parts[0] + bias
        if not self.plastic:
            return slow, {}
        recall = jnp.broadcast_to(parts[1], slow.shape).astype(slow.dtype)
        post = slow + recall
        return post, {name: Activity(pre, post, post, jnp.zeros_like(post), recall)}


def activated(activities: dict[str, Activity], activation: Array) -> dict[str, Activity]:
    """Returns the activities with `activation`, the result of the nonlinearity after the layers."""
    return {name: a._replace(activation=activation) for name, a in activities.items()}
