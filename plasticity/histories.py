"""The buffers of `append_scan`: how a step reads, writes and differentiates their rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from plasticity.types import Array

# Without this, JAX adds operations for indices that count from the end.
FROM_START = {"allow_negative_indices": False}


class Histories(NamedTuple):
    """What buffers [..., T, ...] have in common; all methods take one list for all of them.

    A buffer with a window W has W more rows in front. Example, W = 2: buffer (b, b, r0, r1, r2), of
    which step 0 reads (b, b), step 1 (b, r0), and step 2 (r0, r1): those from its own number on.
    """

    axis: int  # along which rows follow each other
    windows: Sequence[int]  # rows that a step reads; 0: all

    def padded(self, buffers: Sequence[Array]) -> list[Array]:
        """The buffers with W blank rows in front, which are copies of their first rows."""
        return [
            jnp.concatenate([lax.slice_in_dim(a, 0, w, axis=self.axis), a], self.axis) if w else a
            for a, w in zip(buffers, self.windows, strict=True)
        ]

    def finished(self, buffers: Sequence[Array]) -> list[Array]:
        """The buffers without the rows that `padded` put in front."""
        return [
            lax.slice_in_dim(a, w, None, axis=self.axis) if w else a
            for a, w in zip(buffers, self.windows, strict=True)
        ]

    def seen(self, buffers: Sequence[Array], t: Array) -> list[Array]:
        """What step t reads: the W rows before row t or, without a window, the whole buffer."""
        return [
            lax.dynamic_slice_in_dim(a, t, w, self.axis, **FROM_START) if w else a
            for a, w in zip(buffers, self.windows, strict=True)
        ]

    def row(self, buffers: Sequence[Any], t: Array | int) -> list[Any]:
        """Row t."""
        return [
            None
            if a is None
            else lax.dynamic_index_in_dim(a, t + w, self.axis, False, **FROM_START)
            for a, w in zip(buffers, self.windows, strict=True)
        ]

    def stored(self, buffers: Sequence[Array], rows: Sequence[Array], t: Array) -> list[Array]:
        """The buffers with rows in the place of row t."""
        return [
            lax.dynamic_update_index_in_dim(a, row, t + w, self.axis, **FROM_START)
            for a, row, w in zip(buffers, rows, self.windows, strict=True)
        ]

    def added(
        self, bars: Sequence[Array | None], terms: Sequence[Array | None], t: Array
    ) -> list[Array | None]:
        """Adds to the adjoints of buffers those of what step t has read; None is zero."""

        def add(bar: Array | None, term: Array | None, window: int) -> Array | None:
            if bar is None or term is None:
                return bar
            if not window:
                return bar + term
            read = lax.dynamic_slice_in_dim(bar, t, window, self.axis, **FROM_START)
            return lax.dynamic_update_slice_in_dim(bar, read + term, t, self.axis, **FROM_START)

        return [add(*each) for each in zip(bars, terms, self.windows, strict=True)]
