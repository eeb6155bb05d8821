"""Causal attention over segments of past steps and the present ones, with an optional window.

Source: Vaswani et al. 2017 (arXiv 1706.03762).
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import FastRead
from plasticity.model.dropout import by_age, dropped
from plasticity.model.plastic_dense import PlasticDense
from plasticity.model.positions import rotate
from plasticity.model.scores import Context, KeyValue, attend_once, band, blank, mix, score
from plasticity.shares import STACKS, Share
from plasticity.steps import ALWAYS
from plasticity.types import Activity, Array


def own_heads(heads: int, share: Share | None) -> int:
    """Returns how many of the heads a device has."""
    return heads if share is None else heads // share.devices


class Attention(nn.Module):
    """Multi-head attention of S steps over past segments and, causally, over themselves.

    Attributes:
      heads: H.
      window: see `Backbone.window`.
      rotary: whether positions are rotary.
      dropout: rate, applied to the weights.
      plastic: whether both projections carry fast weights.
      persistent: learned keys and values that every step attends to.
      share: of the module of a device that has a part of the heads; None: it has all H.
    """

    heads: int
    window: int
    rotary: bool
    dropout: float
    plastic: bool = False
    persistent: int = 0
    share: Share | None = None

    @nn.compact
    def __call__(
        self,
        x: Array,
        past: Sequence[KeyValue],
        position: Array,
        fast: FastRead,
        independent: bool,
        deterministic: bool,
    ) -> tuple[Array, KeyValue, dict[str, Activity]]:
        """Maps x [S, D] at positions [S] to [S, D].

        Args:
          x, position: the steps.
          past: segments of earlier steps.
          fast: fast parts of the projections, if they are plastic.
          independent: whether each step ignores the other present ones.
          deterministic: whether there is no dropout.

        Returns:
          The result, the entry that the steps add to the past, and activities of plastic layers.
        """
        steps, width = x.shape
        heads, head_width = own_heads(self.heads, self.share), width // self.heads
        dense = partial(PlasticDense, plastic=self.plastic, share=self.share)
        project = dense(
            STACKS * heads * head_width,
            kernel_init=nn.initializers.xavier_uniform(),  # of queries, keys and values stacked
            bias_init=nn.initializers.zeros,
            side="outputs",
            name="query_key_value",
        )
        stacked, activities = project(x, fast)
        query, key, value = jnp.moveaxis(stacked.reshape(steps, STACKS, heads, -1), 1, 0)
        if self.rotary:
            query, key = rotate(query, position), rotate(key, position)
        present = KeyValue(key, value, position)
        segments = [segment for segment in past if len(segment.position)]
        mixed = self._mixed(query, present, segments, independent, deterministic)
        out = dense(width, side="inputs", name="out")
        mixed, active_out = out(mixed.reshape(steps, heads * head_width), fast)
        return mixed, present, activities | active_out

    def _mixed(
        self,
        query: Array,
        present: KeyValue,
        past: Sequence[KeyValue],
        independent: bool,
        deterministic: bool,
    ) -> Array:
        """Sums of values [S, H, W], for queries [S, H, W]; no segment of the past is empty."""
        steps, heads, head_width = query.shape
        window, dtype = self.window, query.dtype
        drop, share = nn.Dropout(self.dropout), self.share
        lengths = [len(segment.position) for segment in past]
        always = self._always(head_width)
        if window < 0:  # a step attends to itself only: the softmax of one score is 1
            ones = jnp.ones((steps, heads, 1), dtype)
            return dropped(drop, ones, deterministic, share, axis=1) * present.value
        if not 0 < 2 * window < steps or independent or lengths not in ([], [window]):
            context = Context([*always, *past], present, independent)
            at, shown = present.position, [s.position for s in (*context.past, present)]
            factors = by_age(drop, at, jnp.concatenate(shown), heads, dtype, deterministic, share)
            if steps == 1:
                return attend_once(query, at, context, window, factors)
            scores = score(query, at, context, window)
            return mix(factors * jax.nn.softmax(scores), context)

        before = past[0] if past else blank(window, heads, head_width, dtype)
        queries, previous, block = band(query, before, present, window)

        def block_scores(query: Array, previous: KeyValue, block: KeyValue) -> Array:
            return score(query, block.position, Context([*always, previous], block), window)

        scores = jax.vmap(block_scores)(queries, previous, block)
        weights = dropped(drop, jax.nn.softmax(scores), deterministic, share, axis=1)
        mixed = jax.vmap(lambda w, p, b: mix(w, Context([*always, p], b)))(weights, previous, block)
        return mixed.reshape(-1, heads, head_width)[:steps]

    def _always(self, head_width: int) -> list[KeyValue]:
        """The persistent keys and values, if there are any."""
        if not self.persistent:
            return []
        shape = (2, self.persistent, self.heads, head_width)
        key, value = self.param("persistent", nn.initializers.normal(0.02), shape)
        return [KeyValue(key, value, jnp.full((self.persistent,), ALWAYS, jnp.int32))]
