"""A memory site as a network has it: H heads, each with a memory of one or several layers.

All heads are written and read alike, by one rule and one engine: what `plasticity.site_steps` does
for one head is mapped over them. A site is {layer: FastState} here, in which heads are axis 0 of
base and carry, and axis 1 of the history; axis 0 of the history counts the writes.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from plasticity.memory.history import advance
from plasticity.site_steps import site_answer, site_step, site_write
from plasticity.types import Array, DType, FastState, Memory, PyTree, Rule, SiteShape, Token, Write

Fast = dict[str, FastState]  # {layer of the memory: its state}
HEADS: Any = FastState(0, 0, 1)  # the axis of heads
Writes = dict[str, Write]  # {layer: [H, ...]}


def axes(tokens: Token, axis: int = 0) -> Any:
    """in_axes of tokens for `jax.vmap`: `axis` for arrays, None for scalars, which all share."""
    return jax.tree.map(lambda a: axis if jnp.ndim(a) else None, tokens)


def _heads(fast: Fast) -> dict[str, Any]:
    """The axis of heads, layer by layer."""
    return dict.fromkeys(fast, HEADS)


def init_site(memory: Memory, site: SiteShape, dtype: DType) -> dict[str, PyTree]:
    """The bases of an empty site."""
    bases = {name: memory.init(shape, dtype) for name, shape in site.layers.items()}
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (site.heads, *a.shape)), bases)


def open_site(memory: Memory, bases: dict[str, PyTree], site: SiteShape, slots: int) -> Fast:
    """The site before a chunk of writes."""
    found = {}
    for name, shape in site.layers.items():
        one = jax.vmap(lambda base, s=shape: memory.open(base, s, slots), out_axes=HEADS)
        found[name] = one(bases[name])
    return found


def close_site(memory: Memory, fast: Fast) -> dict[str, PyTree]:
    """The bases after a chunk."""
    return {name: jax.vmap(memory.close, (HEADS,))(state) for name, state in fast.items()}


def step_site(rule: Rule, memory: Memory, fast: Fast, token: Token, slot: Array) -> Array:
    """The answers [H, O] of a step that writes its token [H, ...]; `write_site` gives the write."""

    def one(fast: Fast, token: Token) -> Array:
        return site_step(rule, memory, fast, token, slot)[0].astype(token.value.dtype)

    return jax.vmap(one, (_heads(fast), axes(token)))(fast, token)


def write_site(rule: Rule, memory: Memory, fast: Fast, token: Token) -> Writes:
    """The writes of a step, token [H, ...]."""

    def one(fast: Fast, token: Token) -> Writes:
        write = site_write(rule, memory, fast, token)
        return {"": write} if isinstance(write, Write) else write

    return jax.vmap(one, (_heads(fast), axes(token)))(fast, token)


def read_site(rule: Rule, memory: Memory, fast: Fast, tokens: Token) -> Array:
    """The answers [Q, H, O] to queries of tokens [Q, H, ...]; nothing is written."""

    def one(fast: Fast, token: Token) -> Array:
        return site_answer(rule, memory, fast, token).astype(token.value.dtype)

    each = axes(tokens)
    return jax.vmap(jax.vmap(one, (_heads(fast), each)), (None, each))(fast, tokens)


def apply_site(memory: Memory, fast: Fast, writes: Writes, slot: Array) -> tuple[PyTree, PyTree]:
    """The carries after writes, and their rows; see `Memory.apply`."""
    both = {
        name: jax.vmap(memory.apply, (HEADS, 0, None))(fast[name], write, slot)
        for name, write in writes.items()
    }
    return {n: carry for n, (carry, _) in both.items()}, {n: row for n, (_, row) in both.items()}


def advance_site(memory: Memory, fast: Fast, writes: Writes, slot: Array) -> Fast:
    """The site after writes."""
    step = jax.vmap(functools.partial(advance, memory), (HEADS, 0, None), HEADS)
    return {name: step(fast[name], write, slot) for name, write in writes.items()}
