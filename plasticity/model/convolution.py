"""A short causal convolution of every channel, over the present steps and their past."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from plasticity.registry import exportable
from plasticity.steps import EMPTY
from plasticity.types import Array, DType


class Inputs(NamedTuple):
    """Inputs of P steps: a segment of the past, or an addition to it."""

    value: Array  # [P, channels]
    position: Array  # [P] int32, EMPTY for a blank entry


exportable(Inputs)


def blank_inputs(slots: int, channels: int, dtype: DType) -> Inputs:
    """A segment of `slots` blank entries."""
    return Inputs(jnp.zeros((slots, channels), dtype), jnp.full((slots,), EMPTY, jnp.int32))


class ShortConvolution(nn.Module):
    """y_t = sum_j w_j x_{t-j}, j = 0 to taps - 1, channel by channel.

    Attributes:
      taps: steps of the kernel.
    """

    taps: int

    @nn.compact
    def __call__(
        self,
        x: Array,
        past: Sequence[Inputs],
        position: Array,
        independent: bool,
        reset: Array | None = None,
    ) -> Array:
        """Maps x [S, channels] at positions [S] to [S, channels].

        A single step finds each earlier input by its position, in whatever order segments hold
        them. Several steps continue from the last inputs of the past, which stand in order,
        after any blank ones.

        Args:
          x, position: the steps.
          past: segments of earlier steps.
          independent: whether each step ignores the other present ones.
          reset: [S] bool, True at the first step of a document: this and later steps see nothing of
            earlier documents; None: none.
        """
        init = nn.initializers.uniform(2 * self.taps**-0.5)
        shape = (self.taps, x.shape[-1])
        kernel = self.param("kernel", lambda key, s: init(key, s) - self.taps**-0.5, shape)
        if len(x) == 1 or independent:
            if reset is not None and not independent:
                past = [Inputs(jnp.where(reset[0], 0, own), at) for own, at in past]
            earlier = partial(_at, past, position[0])
            return kernel[0] * x + sum(kernel[j] * earlier(j) for j in range(1, self.taps))
        before = _last(past, self.taps - 1, x)
        whole = jnp.concatenate([before, x])
        start = None if reset is None else jnp.cumsum(reset)
        shifted = []
        for j in range(self.taps):
            seen = whole[self.taps - 1 - j : len(whole) - j]
            if start is not None and j:
                origin = jnp.concatenate([jnp.zeros(j, start.dtype), start])[: len(x)]
                seen = jnp.where((origin == start)[:, None], seen, 0)
            shifted.append(kernel[j] * seen)
        return sum(shifted)


def _at(past: Sequence[Inputs], position: Array, lag: int) -> Array | int:
    """The input at `position` - `lag`, wherever it stands; 0 before the first step.

    The sum starts with the number 0, which leaves the type of the past as it is.
    """
    found = []
    for segment in past:
        here = (segment.position == position - lag) & (segment.position != EMPTY)
        found.append(jnp.where(here[:, None], segment.value, 0).sum(0))
    return sum(found)


def _last(past: Sequence[Inputs], count: int, like: Array) -> Array:
    """The last `count` inputs of a past in order, [count, channels]; zeros if there are less."""
    blank = jnp.zeros((count, like.shape[-1]), like.dtype)
    whole = jnp.concatenate([blank, *(segment.value for segment in past)])
    return whole[len(whole) - count :]
