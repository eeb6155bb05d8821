"""Stacks of steps: pytrees whose leaves share a leading axis."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity.backbone import FastRead
from plasticity.types import Array, PyTree, Token

EMPTY = -1  # position of a blank entry of the past
ALWAYS = -2  # position of an entry that every step sees


def length(stack: PyTree) -> int:
    """Returns the size of the leading axis."""
    return len(jax.tree.leaves(stack)[0])


def join(first: PyTree, second: PyTree | None) -> PyTree:
    """Concatenates two stacks along the leading axis; returns the first if the second is None."""
    if second is None:
        return first
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


def no_answers(tokens: Token) -> Array:
    """Zero answers [S, H, O], one per token, even if a rule writes several times per token."""
    return jnp.zeros((*tokens.query.shape[:-1], tokens.value.shape[-1]), tokens.value.dtype)


# A `FastRead` of fast weights that are zero.
no_fast_weights = FastRead(
    read=lambda layer, pre: jnp.zeros((), pre.dtype),
    associate=lambda site, tokens: no_answers(tokens),
    recall=lambda site, tokens: no_answers(tokens),
)


def checkpointed_scan(
    body: Callable, state: PyTree, scanned: PyTree, steps: int, chunk: int
) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan` that, for the backward pass, stores the state every `chunk` steps only.

    Example, steps = 5 and chunk = 2: a scan over the chunks (0, 1) and (2, 3), then step 4. States
    are stored before steps 0, 2 and 4.
    """
    if not 0 < chunk < steps:
        return jax.lax.scan(body, state, scanned)
    count = steps // chunk
    whole = count * chunk
    run_chunk = jax.checkpoint(lambda s, xs: jax.lax.scan(body, s, xs))
    chunks = jax.tree.map(lambda a: a[:whole].reshape(count, chunk, *a.shape[1:]), scanned)
    state, out = jax.lax.scan(run_chunk, state, chunks)
    out = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), out)
    if whole == steps:
        return state, out
    state, rest = run_chunk(state, jax.tree.map(lambda a: a[whole:], scanned))
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, rest)


def pieces_of(stack: PyTree, size: int) -> tuple[PyTree, PyTree | None]:
    """A stack of T steps in whole pieces [T // size, size, ...], and the rest; None: there is none.

    Of fewer than `size` steps, one piece.
    """
    steps = length(stack)
    size = min(size, steps)
    count = steps // size
    whole = count * size
    pieces = jax.tree.map(lambda a: a[:whole].reshape(count, size, *a.shape[1:]), stack)
    rest = jax.tree.map(lambda a: a[whole:], stack)
    return pieces, rest if whole < steps else None


def run_pieces(run: Callable, state: PyTree, pieces: PyTree, rest: PyTree | None) -> PyTree:
    """The state after all pieces and the rest, and the answers [T, O].

    run: (state, piece) -> state and answers of its steps.
    """
    after, answers = jax.lax.scan(run, state, pieces)
    answers = answers.reshape(-1, answers.shape[-1])
    if rest is None:
        return after, answers
    after, last = run(after, rest)
    return after, jnp.concatenate([answers, last])
