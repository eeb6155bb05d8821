"""All memories of a network: at plastic layers, and at the heads of memory sites."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from plasticity.heads import advance_site, apply_site, close_site, open_site, read_site
from plasticity.memory import advance
from plasticity.memory.factored import Decay
from plasticity.network import Network, Parameters, StepRecord, float_type
from plasticity.steps import no_answers
from plasticity.types import Activity, Array, FastState, Form, PyTree, Token

# {memory: carry} -> {memory: carry, or a part of it}
Carried = Callable[[dict[str, PyTree]], dict[str, PyTree]]


def first_row(tree: PyTree) -> PyTree:
    """The only step of a stack of S = 1 steps. Scalars, which hold for all steps, stay."""
    return jax.tree.map(lambda a: a[0] if jnp.ndim(a) else a, tree)


def asked(network: Network, fast: dict[str, Any], name: str, tokens: Token) -> Array:
    """The answers [S, H, O] of a site to the queries of tokens; nothing is written."""
    if name not in network.sites:
        return no_answers(tokens)
    return read_site(*network.at_site(name), fast[name], tokens)


def opened(network: Network, fast: dict[str, PyTree], slots: int) -> dict[str, Any]:
    """The memories of one episode before a chunk, from their bases."""
    found: dict[str, Any] = {
        name: network.memory.open(fast[name], shape, slots)
        for name, shape in network.layers.items()
    }
    for name, site in network.sites.items():
        found[name] = open_site(network.at_site(name)[1], fast[name], site, slots)
    return found


def closed(network: Network, fast: dict[str, Any]) -> dict[str, PyTree]:
    """The bases after a chunk."""
    found = {name: network.memory.close(fast[name]) for name in network.layers}
    for name in network.sites:
        found[name] = close_site(network.at_site(name)[1], fast[name])
    return found


def advanced(
    network: Network, fast: dict[str, Any], record: StepRecord, slot: Array
) -> dict[str, Any]:
    """The memories after the writes of a step, `slot` [] of the chunk; errors as of `advance`."""
    after: dict[str, Any] = {
        name: advance(network.memory, fast[name], write, slot)
        for name, write in record.writes.items()
    }
    for name, writes in record.site_writes.items():
        after[name] = advance_site(network.at_site(name)[1], fast[name], writes, slot)
    return after


def applied(
    network: Network, fast: dict[str, Any], record: StepRecord, slot: Array
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """The carries after the writes of a step, and their rows; see `Memory.apply`."""
    both: dict[str, tuple[PyTree, PyTree]] = {
        name: network.memory.apply(fast[name], write, slot) for name, write in record.writes.items()
    }
    for name, writes in record.site_writes.items():
        both[name] = apply_site(network.at_site(name)[1], fast[name], writes, slot)
    return {n: carry for n, (carry, _) in both.items()}, {n: row for n, (_, row) in both.items()}


def in_common(
    network: Network, params: Parameters, carry: dict[str, PyTree]
) -> tuple[Carried, Carried]:
    """Two functions: one leaves out of carries what all layers have in common, one restores it.

    Where a rule gives all layers one rate and one keep, as one with a clip over all layers does,
    the coefficients of what was written are the same numbers in every layer. Then the first layer
    carries them for all, and each of the others its bias alone.

    Args:
      network: the parts; its memory is append-only.
      params: slow weights and theta.
      carry: {memory: carry}. Those of an engine that has no `Decay` are left whole.
    """
    known = all(isinstance(carry[name], Decay) for name in network.layers)
    if not known or not _one_rate(network, params):
        return lambda carry: carry, lambda carry: carry
    first, *others = network.layers

    def stripped(carry: dict[str, PyTree]) -> dict[str, PyTree]:
        return carry | {name: carry[name].bias for name in others}

    def restored(carry: dict[str, PyTree]) -> dict[str, PyTree]:
        return carry | {name: carry[first]._replace(bias=carry[name]) for name in others}

    return stripped, restored


def _one_rate(network: Network, params: Parameters) -> bool:
    """Whether the rule returns the same arrays as rate and keep of several layers."""
    write, form = network.rule.write, network.rule.form
    if len(network.layers) < 2 or write is None or form != Form() or network.intervention:
        return False
    dtype = float_type(params)
    activities = {}
    for name, shape in network.layers.items():
        sizes = (shape.inputs, *[shape.outputs] * (len(Activity._fields) - 1))
        activities[name] = Activity._make(jax.ShapeDtypeStruct((n,), dtype) for n in sizes)
    found: set[tuple[int, int]] = set()

    def look(*arguments: Any) -> None:
        writes = write(*arguments).values()  # all are alive, so that ids differ
        found.update((id(w.rate), id(w.keep)) for w in writes)

    jax.eval_shape(look, params.plasticity, jax.ShapeDtypeStruct((), dtype), activities)
    return len(found) == 1


def part_of(fast: PyTree, field: str) -> PyTree:
    """One part of every `FastState`: base, carry or history."""

    def part(state: FastState) -> PyTree:
        return getattr(state, field)

    return jax.tree.map(part, fast, is_leaf=lambda a: isinstance(a, FastState))


def joined(network: Network, base: PyTree, carry: PyTree, history: PyTree) -> dict[str, Any]:
    """The states of which `part_of` took the three parts."""
    fast: dict[str, Any] = {n: FastState(base[n], carry[n], history[n]) for n in network.layers}
    for n in network.sites:
        fast[n] = {i: FastState(base[n][i], carry[n][i], history[n][i]) for i in base[n]}
    return fast
