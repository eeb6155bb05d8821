"""What one piece of an episode takes over from the one before it: a `NetworkState`.

Example: a window of 2, and pieces of 3 steps and 1 step. The first leaves w_3 and the entries of
steps 1 and 2; step 3 reads them and leaves w_4 and the entries of steps 2 and 3.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.heads import init_site
from plasticity.network import (
    META_GRADIENTS,
    Network,
    NetworkState,
    Parameters,
    fast_type,
    float_type,
)
from plasticity.program import is_float
from plasticity.registry import lookup
from plasticity.site_steps import check_made_for
from plasticity.steps import length
from plasticity.synapse import copies
from plasticity.types import Array, Key, Plasticity, PyTree


def initial_state(
    network: Network, params: Parameters, episodes: int | None = None, slots: int | None = None
) -> NetworkState:
    """Returns the state before step 0.

    Args:
      network: the parts.
      params: slow weights and theta, which give the dtype and the first weights of sites.
      episodes: B; None: one episode, without this axis.
      slots: blank entries of the past. None: as many as the window, so that a memory that does not
        grow has a state of constant size, and a program for pieces of one length compiles once. If
        the window is 0, the past grows by the steps of every piece.
    """
    backbone, dtype = network.backbone, float_type(params)
    slots = max(backbone.window, 0) if slots is None else slots
    fast: dict[str, Any] = {
        name: network.memory.init(shape, fast_type(params))
        for name, shape in network.layers.items()
    }
    fast |= _first_of_sites(network, params)
    parts = (fast, backbone.blank(slots, dtype), backbone.blank_ahead(slots, dtype))
    if episodes is not None:
        parts = jax.tree.map(lambda a: jnp.broadcast_to(a, (episodes, *a.shape)), parts)
    # An array of NumPy is a number while JAX traces, too: `Backbone.prepare` can check it.
    start: Any = np.zeros((), np.int32)
    return NetworkState(*parts, start)


def _first_of_sites(network: Network, params: Parameters) -> dict[str, Any]:
    """The memories of sites before step 0, {site: {layer: base}}."""
    if not network.sites:
        return {}
    dtype, first = fast_type(params), network.backbone.first
    if first is not None:
        given = {name: state for name, state in first(params.slow).items() if name in network.sites}
        return jax.tree.map(lambda a: a.astype(dtype), given)
    engines = {name: network.at_site(name)[1] for name in network.sites}
    return {name: init_site(engines[name], site, dtype) for name, site in network.sites.items()}


def prepare(
    network: Network,
    params: Parameters,
    state: NetworkState,
    inputs: PyTree,
    queries: PyTree | None,
    key: Key | None,
) -> tuple[PyTree, PyTree | None, PyTree]:
    """Casts inputs [T, ...] and queries [Q, ...] to `float_type` and calls `Backbone.prepare`.

    Returns:
      Prepared inputs and queries, and `NetworkState.ahead` after the T steps.

    Raises:
      ValueError: `state` is not of this network, or the memory is made for writes of another form.
    """
    _check(network)
    dtype, backbone, position = float_type(params), network.backbone, state.position
    layers = sorted([*network.layers, *network.sites])
    if sorted(state.fast) != layers:
        raise ValueError(f"state.fast has the layers {sorted(state.fast)}, it should have {layers}")

    def cast(a: Array) -> Array:
        return a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a

    inputs, queries = jax.tree.map(cast, (inputs, queries))
    if key is not None:
        # Each piece has its own masks. No step has a negative number, so no step has the same.
        key = jnp.where(position == 0, key, jax.random.fold_in(key, -position))
    x, asked, new = backbone.prepare(params.slow, state.ahead, inputs, queries, position, key)
    slots = visible_steps(network, state.ahead, length(inputs))
    return x, asked, extended(state.ahead, new, slots)


def _check(network: Network) -> None:
    """Raises ValueError if rules, engines and meta-gradient do not go together.

    That is: a rule has no meaning where it writes, an engine is made for another form, or memory
    sites that take all steps at once are to truncate the meta-gradient; or it has no such name.
    """
    lookup(dict.fromkeys(META_GRADIENTS), network.meta_gradient, "meta_gradient")
    at_layers = (network.layers, network.rule, network.memory)
    at_sites = [(True, *network.at_site(name)) for name in network.sites]
    for written, rule, memory in (at_layers, *at_sites):
        if written:
            check_made_for(rule, memory)
    if network.layers and network.rule.write is None:
        raise ValueError(
            f"the layers {sorted(network.layers)} are plastic, and this rule has a meaning at "
            "memory sites only: its Rule.write is None"
        )
    if network.sites and network.at_once and network.meta_gradient == "truncated":
        raise ValueError(
            "meta_gradient='truncated' must be 'full' where memory sites take all steps at once"
        )


def step_key(key: Key | None, t: Array) -> Key | None:
    """Returns the dropout key of step t."""
    return None if key is None else jax.random.fold_in(key, t)


def visible_steps(network: Network, past: PyTree, steps: int, axis: int = 0) -> int:
    """Returns how many entries of a past, which stand along `axis`, remain after T more `steps`."""
    most = steps + entries(past, axis)
    return max(min(network.backbone.window or most, most), 0)


def entries(past: PyTree, axis: int = 0) -> int:
    """Returns the number of entries of a segment; 0 if entries have no content."""
    return max((a.shape[axis] for a in jax.tree.leaves(past)), default=0)


def extended(past: PyTree, new: PyTree, slots: int, axis: int = 0) -> PyTree:
    """The last `slots` entries of a past and `new` ones behind it, or all if there are fewer."""

    def last(old: Array, new: Array) -> Array:
        both = jnp.concatenate([old, new], axis)
        stop = both.shape[axis]
        return jax.lax.slice_in_dim(both, max(stop - slots, 0), stop, axis=axis)

    return jax.tree.map(last, past, new)


def with_blanks(
    network: Network, params: Parameters, past: PyTree, slots: int, axis: int = 0
) -> PyTree:
    """The segment with blank entries in front of it, so that it has `slots`."""

    def fill(blank: Array, rows: Array) -> Array:
        blank = jnp.broadcast_to(blank, (*rows.shape[:axis], *blank.shape))
        return jnp.concatenate([blank, rows], axis)

    missing = max(slots - entries(past, axis), 0)
    return jax.tree.map(fill, network.backbone.blank(missing, float_type(params)), past)


@jax.custom_jvp
def differentiated(state: PyTree, others: PyTree) -> PyTree:
    """Returns the state, which counts as differentiated wherever one of the `others` is.

    If a jitted piece is called twice under one gradient, its program is differentiated twice, with
    the first state of an episode as a constant and later ones not. `append_scan` keeps different
    values for the way back in the two cases, but a custom derivative has one structure of them.
    """
    del others
    return state


@differentiated.defjvp
def _(primals: tuple[PyTree, PyTree], tangents: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
    moved, others = tangents
    nothing = sum(0 * a.ravel()[0] for a in jax.tree.leaves(others) if is_float(a) and a.size)

    def depending(tangent: Array) -> Array:
        return tangent + nothing.astype(tangent.dtype) if is_float(tangent) else tangent

    return primals[0], jax.tree.map(depending, moved)


def for_each_episode(params: Parameters, episodes: int) -> tuple[Parameters, Any]:
    """Parameters with a copy of every matrix alpha for each episode, and their axes of episodes."""
    synapses, axes = dict(params.plasticity.synapses), {}
    for name, synapse in params.plasticity.synapses.items():
        axes[name] = jax.tree.map(lambda _: None, synapse)
        if synapse.alpha is not None:
            synapses[name] = synapse._replace(alpha=copies(synapse.alpha, episodes))
            axes[name] = axes[name]._replace(alpha=0)
    theta = params.plasticity._replace(synapses=synapses)
    return params._replace(plasticity=theta), Parameters(None, Plasticity(axes, None))
