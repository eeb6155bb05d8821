"""A linear layer whose weight is slow + fast. It owns the slow part and asks for the fast one."""

import jax.numpy as jnp
from flax import linen as nn

from plasticity.model.linear import linear
from plasticity.types import Activity, Array, FastRead


class PlasticDense(nn.Module):
    """post = W pre + b + fast(name, pre), where `name` is the module's path.

    Attributes:
      features: O.
    """

    features: int

    @nn.compact
    def __call__(self, pre: Array, fast: FastRead) -> tuple[Array, Activity]:
        """Maps pre [S, I] to post [S, O].

        Returns:
          post, and the activity, in which `activation` is still `post` (a layer that is followed
          by a nonlinearity replaces it) and `credit` is zero.
        """
        slow = linear(pre.shape[-1], self.features, name="slow")(pre)
        recall = jnp.broadcast_to(fast(self.layer_name, pre), slow.shape)
        post = slow + recall
        return post, Activity(pre, post, post, jnp.zeros_like(post), recall)

    @property
    def layer_name(self) -> str:
        """The name under which rules and memories know this layer."""
        return "/".join(self.path)
