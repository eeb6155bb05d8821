"""Steps before which a memory starts anew, steps that do not count, and what both do to a chunk.

A chunk's trace after step t is made of the K parts of the state before the chunk, of those of the
memory that starts anew, if there is one, and of the chunk's own writes since the last start. Here
are the factors of each. Example: chunk of 4 steps, keep 1/2, a start before step 2,

  after step        0     1     2     3
  of the state     1/2   1/4    0     0
  of the new one    0     0    1/2   1/4
  of write 1        -     1     0     0

Axis letters: t and s steps of the chunk (C), j parts of the state (K), p parts of both (P: K, or
2 K with starts), i inputs. L is 1, or I if keeps are per input.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.spans import Maps, Span, composed
from plasticity.types import Array


class Marks(NamedTuple):
    """Marks of each step. Without `reset` nothing starts anew; without `valid` all steps count."""

    reset: Array | None = None  # [T] bool: the memory starts anew before the step
    valid: Array | None = None  # [T] bool; False: the step writes nothing, and no factor acts


class Factors(NamedTuple):
    """What is left after and before the steps of a chunk.

    The state before the chunk has P parts: the weights, the trace of the momentum if there is one,
    and both once more of the memory that starts anew if a step of the chunk has a reset. Of the
    state after the chunk, K parts are wanted: the weights, and the trace of the momentum. L is 1,
    or the inputs if each has a keep of its own. With a keep k and no momentum, P = K = 1, and after
    two steps after[1, 0] = k_1 k_2.
    """

    passed: Array  # [K, P, L], of part p in part j at the end
    after: Array  # [C, P, L], of part p in the trace after step t
    before: Array  # [C, P, L], of part p in the trace before step t
    wrote: Array  # [C, K, L], of write s in part j at the end
    same: Array | None  # [C, C] bool, whether no start lies between s and t; None: there is none


def factors(spans: list[Span], marks: Marks, steps: int) -> Factors:
    """The factors of a chunk of `steps` steps, from the spans that `make_spans` made of it."""
    whole = spans[-1]
    passed = jnp.stack([jnp.stack([a[0] for a in row]) for row in whole.passed])
    reads, wrote = (jnp.stack([a[0, :steps] for a in all_of], 1) for all_of in whole[1:])
    own = jnp.zeros_like(reads[:1]).at[:, 0].set(1)  # of the trace itself
    if marks.reset is None:
        return Factors(passed, reads, jnp.concatenate([own, reads[:-1]]), wrote, None)
    start = jnp.cumsum(marks.reset)  # how many there were up to each step
    since = _since(jax.tree.map(lambda a: a[:steps], spans[0].passed), marks.reset)
    after = jnp.stack(since[0], 1)
    before = jnp.concatenate([own, after[:-1]])
    before = jnp.where(marks.reset[:, None, None], own, before)

    def split(a: Array, started: Array) -> Array:
        """Of the state, or of the memory that started anew."""
        started = jnp.broadcast_to(started, a.shape)
        return jnp.concatenate([jnp.where(started, 0, a), jnp.where(started, a, 0)], -2)

    started = (start > 0)[:, None, None]
    return Factors(
        split(jnp.stack([jnp.stack([a[-1] for a in row]) for row in since]), started[-1]),
        split(after, started),
        split(before, started),
        wrote * (start == start[-1])[:, None, None],
        start[:, None] == start,
    )


def _since(steps: Maps, reset: Array) -> Maps:
    """The products of the maps of steps since the last start, or since step 0."""

    def joined(first: tuple[Array, Maps], second: tuple[Array, Maps]) -> tuple[Array, Maps]:
        product, anew = composed(second[1], first[1]), second[0][:, None]
        kept = jax.tree.map(lambda a, b: jnp.where(anew, a, b), second[1], product)
        return first[0] | second[0], kept

    return jax.lax.associative_scan(joined, (reset, steps))[1]


def cut(products: Array, same: Array | None) -> Array:
    """[C, C, ...] of write s in what is read at t, without the writes before the last start."""
    if same is None:
        return products
    return jnp.where(same.reshape(*same.shape, *(1,) * (products.ndim - 2)), products, 0)
