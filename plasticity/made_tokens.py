"""Memories that read their own keys, values and rates (`Site.tokens`), a stretch of steps at once.

These reads are all taken at the state before the first step of the stretch, so the tokens of every
layer are known. Given them, a layer follows a rule that is linear in its own state, and is solved
as in `plasticity.parallel`.
"""

import jax

from plasticity.chunk_reads import AFTER_EACH, Written, answered, parts_of, reader, unwritten
from plasticity.frozen import Layers, starts_of
from plasticity.marks import Marks
from plasticity.parallel import plan_chunk, run_chunk
from plasticity.types import Array, Form, Site, Token


def run_made(
    site: Site, form: Form, initial: Layers | None, state: Layers, piece: tuple[Token, Marks]
) -> tuple[Layers, Array]:
    """The state after a stretch, and its answers; arguments as for `plasticity.frozen`."""
    tokens, marks = piece
    tokens = jax.vmap(site.prepare)(tokens)
    starts = starts_of(form, marks, tokens.key[:, 0])
    origins = {
        name: unwritten(parts_of(form, trace, initial[name] if initial else None), starts)
        for name, trace in state.items()
    }

    def make(token: Token, layers: dict[str, Written]) -> dict[str, Token]:
        assert site.tokens is not None
        return site.tokens(token, reader(form, layers))

    made = jax.vmap(make, (0, dict.fromkeys(origins, AFTER_EACH)))(tokens, origins)
    alone, after = Site(site.write, "read_before_write"), {}
    for name, trace in state.items():
        plan = plan_chunk(alone, form, (made[name], marks))
        first = None if initial is None else initial[name]
        after[name], _ = run_chunk(alone, form, first, trace, plan)
    return after, answered(site, form, tokens, origins)
