"""A stretch of steps of a rule whose writes are taken at the state before its first: `Site.frozen`.

Rules that descend the loss of a small network are trained so (Sun et al. 2024, arXiv 2407.04620;
Behrouz et al. 2024, arXiv 2501.00663): the gradients of all tokens of a stretch are taken at the
weights before it, and only decay, momentum and the map to weights act at every token. So all
gradients are computed at once, and the weights after each token are a mix of the writes before.
"""

import jax
import jax.numpy as jnp

from plasticity.chunk_reads import (
    Written,
    after_chunk,
    answered,
    parts_of,
    reader,
    untouched,
    with_one,
)
from plasticity.memory.contract import check_write
from plasticity.memory.dense import TraceMatrix
from plasticity.spans import Span, before, make_spans, mix
from plasticity.types import Array, Form, Site, Token, Write

Layers = dict[str, TraceMatrix]


def run_frozen(site: Site, form: Form, state: Layers, tokens: Token) -> tuple[Layers, Array]:
    """The state after a stretch of C steps, and their answers [C, O].

    Args:
      site, form: of the rule; keeps are one number per step.
      state: before the stretch, of each layer.
      tokens: [C, ...].
    """
    tokens = jax.vmap(site.prepare)(tokens)
    read = reader(form, {name: untouched(form, trace) for name, trace in state.items()})
    writes = jax.vmap(lambda token: site.write(token, read))(tokens)
    writes = {"": writes} if isinstance(writes, Write) else writes
    reach = jnp.ones_like(tokens.key[:, 0])
    if site.reach is not None:
        reach = jax.vmap(site.reach)(tokens)
    layers, after = {}, {}
    for name, trace in state.items():
        layers[name], after[name] = _layer(site, form, trace, writes[name], reach)
    return after, answered(site, form, tokens, layers)


def _layer(
    site: Site, form: Form, state: TraceMatrix, write: Write, reach: Array
) -> tuple[Written, TraceMatrix]:
    """One layer after each step, as answers see it, and its state after the last."""
    jax.vmap(lambda one: check_write(form, one, *state.weight.shape))(write)
    steps = len(reach)
    keep, rate = (jnp.broadcast_to(a, (steps,)) for a in (write.keep, write.rate))
    left, right = (a if form.terms > 1 else a[:, None] for a in (write.left, write.right))
    spans = make_spans(keep[:, None], write.momentum)
    right, written = with_one(form, right), rate[:, None, None] * left
    after = site.order == "read_after_write"
    passed, reads, wrote = spans[-1]
    reads, wrote = reads[:, :steps], wrote[:, :steps]
    seen = (reads if after else before(reads))[0, :, :, 0]
    mixed = reach[:, None] * mix(spans, steps, after)
    layer = Written(parts_of(form, state), seen, mixed, written, right)
    whole = Span(passed, reads, wrote)
    return layer, after_chunk(form, state, whole, reach[-1] * written, right)
