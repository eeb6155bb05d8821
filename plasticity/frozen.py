"""Frozen rules: the writes of a stretch of steps are computed at the state before it, all at once.

A stretch has `Site.frozen` steps. Rules that descend the loss of a small network are trained in
this way (Sun et al. 2024, arXiv 2407.04620; Behrouz et al. 2024, arXiv 2501.00663). The gradients
of all its tokens are taken at the weights before it; only decay, momentum and the map to weights
act at every token. The weights after a token are a weighted sum of the weights before the stretch
and of the writes up to the token.
"""

import jax
import jax.numpy as jnp

from plasticity.chunk_reads import (
    AFTER_EACH,
    Written,
    after_chunk,
    answered,
    parts_of,
    reader,
    unwritten,
    with_one,
)
from plasticity.marks import Marks, cut, factors
from plasticity.memory.contract import check_write
from plasticity.memory.dense import TraceMatrix
from plasticity.spans import make_spans, mix
from plasticity.types import Array, Form, Site, Token, Write

Layers = dict[str, TraceMatrix]


def run_frozen(
    site: Site, form: Form, initial: Layers | None, state: Layers, piece: tuple[Token, Marks]
) -> tuple[Layers, Array]:
    """The state after a stretch of C steps, and their answers [C, O].

    Args:
      site, form: of the rule; keeps are one number per step.
      initial: the memory that starts anew at resets; None: there are none.
      state: before the stretch, of each layer.
      piece: tokens [C, ...] and their marks.
    """
    tokens, marks = piece
    tokens = jax.vmap(site.prepare)(tokens)
    parts = {n: parts_of(form, t, initial[n] if initial else None) for n, t in state.items()}
    reach = jnp.ones_like(tokens.key[:, 0])
    if site.reach is not None:
        reach = jax.vmap(site.reach)(tokens)

    def write(token: Token, layers: dict[str, Written]) -> dict[str, Write]:
        found = site.write(token, reader(form, layers))
        return {"": found} if isinstance(found, Write) else found

    origins = {n: unwritten(all_of, starts_of(form, marks, reach)) for n, all_of in parts.items()}
    writes = jax.vmap(write, (0, dict.fromkeys(origins, AFTER_EACH)))(tokens, origins)
    layers, after = {}, {}
    for name, trace in state.items():
        part = (parts[name], writes[name], marks, reach)
        layers[name], after[name] = _layer(site, form, trace, *part)
    asked = origins if site.order == "read_before_stretch" else layers
    return after, answered(site, form, tokens, asked)


def starts_of(form: Form, marks: Marks, like: Array) -> Array:
    """At which part each token's gradient is taken, one-hot [C, P].

    At the state before the stretch or, from a reset on, at the memory that started anew.
    """
    count = 2 if form.momentum else 1
    own = jnp.zeros((len(like), count), like.dtype).at[:, 0].set(1)
    if marks.reset is None:
        return own
    started = (jnp.cumsum(marks.reset) > 0)[:, None]
    return jnp.concatenate([jnp.where(started, 0, own), jnp.where(started, own, 0)], 1)


def _layer(
    site: Site,
    form: Form,
    state: TraceMatrix,
    parts: tuple[Array, ...],
    write: Write,
    marks: Marks,
    reach: Array,
) -> tuple[Written, TraceMatrix]:
    """One layer after each step, as answers see it, and its state after the last."""
    jax.vmap(lambda one: check_write(form, one, *state.weight.shape))(write)
    steps = len(reach)
    keep, rate = (jnp.broadcast_to(a, (steps,)) for a in (write.keep, write.rate))
    rate = rate if marks.valid is None else jnp.where(marks.valid, rate, 0)
    left, right = (a if form.terms > 1 else a[:, None] for a in (write.left, write.right))
    spans = make_spans(keep[:, None], write.momentum, marks.valid)
    right, written = with_one(form, right), rate[:, None, None] * left
    after = site.order == "read_after_write"
    chunk = factors(spans, marks, steps)
    mixed = reach[:, None] * cut(mix(spans, steps, after), chunk.same)
    seen = chunk.after if after else chunk.before
    layer = Written(parts, seen[..., 0], mixed, written, right)
    last = after_chunk(form, state, parts, chunk, _last(reach, marks) * written, right)
    if form.settle is not None and marks.valid is not None:
        # Where no step counts, weights that were not settled stay so.
        moved = marks.valid.any() if marks.reset is None else (marks.valid | marks.reset).any()
        last = jax.tree.map(lambda new, old: jnp.where(moved, new, old), last, state)
    return layer, last


def _last(reach: Array, marks: Marks) -> Array:
    """The reach of the last step that counts."""
    if marks.valid is None:
        return reach[-1]
    return reach[len(reach) - 1 - jnp.argmax(marks.valid[::-1])]
