"""A linear layer whose weight is slow + fast. It owns the slow part and asks for the fast one."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from plasticity.model.linear import uniform
from plasticity.types import Activity, Array, FastRead

Initializer = Callable[..., Array]


class PlasticDense(nn.Module):
    """post = W pre + b + fast(name, pre), where `name` is the module's path.

    Attributes:
      features: O.
      plastic: False: an ordinary layer, which has no fast part and which no rule knows.
      kernel_init, bias_init: of W [I, O] and b [O]; default U(-1/sqrt(I), 1/sqrt(I)).
    """

    features: int
    plastic: bool = True
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, pre: Array, fast: FastRead) -> tuple[Array, dict[str, Activity]]:
        """Maps pre [S, I] to post [S, O].

        Returns:
          post, and {name: activity}, in which `activation` is still `post` (see `activated`) and
          `credit` is zero; empty if the layer is not plastic.
        """
        default = uniform(pre.shape[-1] ** -0.5)
        shape = (pre.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init or default, shape, jnp.float32)
        bias = self.param("bias", self.bias_init or default, shape[1:], jnp.float32)
        slow = pre @ kernel + bias
        if not self.plastic:
            return slow, {}
        name = "/".join(self.path)
        recall = jnp.broadcast_to(fast(name, pre), slow.shape)
        post = slow + recall
        return post, {name: Activity(pre, post, post, jnp.zeros_like(post), recall)}


def activated(activities: dict[str, Activity], activation: Array) -> dict[str, Activity]:
    """The activities of layers that are followed by a nonlinearity, whose result is given."""
    return {name: a._replace(activation=activation) for name, a in activities.items()}
