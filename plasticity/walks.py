"""The two loops of `append_scan`: forward, and back with the adjoint."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from plasticity.histories import Histories
from plasticity.joint import Joint
from plasticity.packing import Packing
from plasticity.types import Array

Leaves = list[Array]
# (values, carry, history, x, t) -> (carry, entry, y, what the walk back needs)
Forward = Callable[..., tuple[Leaves, Leaves, Leaves, Leaves]]


def walk_forward(
    step: Forward,
    histories: Histories,
    packings: tuple[Packing, Packing],
    values: Leaves,
    carry: Leaves,
    history: Leaves,
    xs: Leaves,
) -> tuple[Leaves, Leaves, Leaves, tuple[Leaves, Leaves]]:
    """The finished carry and history, ys, and (carry, kept) of every step, packed."""
    of_carry, of_kept = packings

    # A row is stored at the start of the next step: every read then follows the update of its
    # buffer, and XLA updates in place what it would otherwise copy.
    def body(state: tuple, scanned: tuple) -> tuple:
        (carry, history, pending), (x, t) = state, scanned
        history = histories.stored(history, pending, jnp.maximum(t - 1, 0))
        seen = histories.seen(history, t)
        after, entry, y, kept = step(values, of_carry.unpack(carry), seen, x, t)
        return (of_carry.pack(after), history, entry), (y, (carry, of_kept.pack(kept)))

    # Before the first step, the blank row itself is stored.
    first = histories.row(history, 0)
    indices = _indices(xs)
    out: Any
    state, out = lax.scan(body, (of_carry.pack(carry), history, first), (xs, indices))
    (carry, history, last), (ys, saved) = state, out
    return of_carry.unpack(carry), histories.stored(history, last, indices[-1]), ys, saved


def walk_back(
    joint: Joint,
    histories: Histories,
    packings: tuple[Packing, Packing],
    values: Leaves,
    history: Leaves,
    xs: Leaves,
    saved: tuple[Leaves, Leaves],
    cotangents: tuple,
) -> tuple[list, ...]:
    """Gradients of (values, carry, history, xs); None where there is none, or where it is zero."""
    carry_bar, history_bar, ys_bar = map(_arrays, cotangents, joint.cotangents)
    values_bar = jax.tree.map(jnp.zeros_like, joint.accumulated(values))
    of_carry, of_kept = packings
    of_bar, of_sums = Packing(carry_bar), Packing(values_bar)

    # As on the way forward, buffers are read after they were updated: the adjoint of the next
    # entry is taken out of them at the end of a step.
    def body(state: tuple, scanned: tuple) -> tuple:
        values_bar, carry_bar, entry_bar, history_bar = state
        x, t, y_bar, (carry, kept) = scanned
        carry, kept, carry_bar = map(
            Packing.unpack, (of_carry, of_kept, of_bar), (carry, kept, carry_bar)
        )
        now, before, read_bar, x_bar, factors = joint.reverse(
            (values, carry, histories.seen(history, t), x, t),
            kept,
            (carry_bar, entry_bar, y_bar),
        )
        before = [
            jnp.zeros_like(bar) if new is None and bar is not None else new
            for new, bar in zip(before, carry_bar, strict=True)
        ]
        history_bar = histories.added(history_bar, read_bar, t)
        next_bar = histories.row(history_bar, jnp.maximum(t - 1, 0))
        values_bar = _add(values_bar, of_sums.pack(now))
        return (values_bar, of_bar.pack(before), next_bar, history_bar), (x_bar, factors)

    indices = _indices(xs)
    last_bar = histories.row(history_bar, indices[-1])
    start = (of_sums.pack(values_bar), of_bar.pack(carry_bar), last_bar, history_bar)
    scanned = (xs, indices, ys_bar, saved)
    out: Any
    state, out = lax.scan(body, start, scanned, reverse=True)
    (values_bar, carry_bar, *_), (xs_bar, factors) = state, out
    grads = joint.finish(values, of_sums.unpack(values_bar), factors)
    return grads, of_bar.unpack(carry_bar), [None] * len(history), xs_bar


def _indices(xs: Leaves) -> Array:
    return jnp.arange(len(xs[0]), dtype=jnp.int32)


def _arrays(bars: list, like: list) -> list:
    """Cotangents as arrays: a symbolic zero is made one, a Python number gets its type."""

    def array(bar: Any, variable: Any) -> Array:
        if isinstance(bar, SymbolicZero):
            return jnp.zeros(bar.shape, variable.aval.dtype)
        return jnp.asarray(bar, variable.aval.dtype)

    return [None if v is None else array(bar, v) for bar, v in zip(bars, like, strict=True)]


def _add(sums: list, terms: list) -> list:
    """Adds leaf by leaf; a term that is None is zero."""
    return [a if b is None else a + b for a, b in zip(sums, terms, strict=True)]
