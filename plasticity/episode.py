"""One episode: the network reads, answers, and rewrites its fast weights after every step.

Order within step t: read w_t -> outputs y_t and modulator g_t -> write -> w_{t+1}. What is written
at t is therefore first readable at t + 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.types import (
    Activity,
    Array,
    Backbone,
    DType,
    Forward,
    Key,
    Memory,
    Outputs,
    Plasticity,
    PyTree,
    Rule,
    Write,
)

META_GRADIENTS = ("full", "truncated")


class Network(NamedTuple):
    """A backbone with plastic layers, the rule that writes them, the memory that holds them.

    meta_gradient: "full" lets the outer gradient flow through every write. "truncated" treats fast
      weights as constants, as in the code published with Chaudhary 2025; alpha, beta, P and the
      modulator then learn nothing.
    remat: steps per rematerialised chunk. Only states at chunk boundaries are kept for the
      backward pass, T / remat of them, and `remat` more while a chunk is redone. 0: keep all.
    """

    backbone: Backbone
    rule: Rule
    memory: Memory
    meta_gradient: str = "full"
    remat: int = 0


class Parameters(NamedTuple):
    """What the outer loop learns."""

    slow: PyTree
    plasticity: Plasticity


class EpisodeState(NamedTuple):
    """What an episode carries from step to step."""

    fast: dict[str, PyTree]  # {layer: memory state}
    past: PyTree  # the backbone's own


class Entry(NamedTuple):
    """What one step adds to the state."""

    writes: dict[str, Write]
    past: PyTree


class Trace(NamedTuple):
    """A whole episode."""

    outputs: Outputs  # [T, ...]
    writes: dict[str, Write]  # {layer: [T, ...]}; empty under a static rule
    fast: dict[str, PyTree]  # {layer: final memory state}; empty under a static rule
    record: Any  # what `record` returned, [T, ...]


def init_parameters(network: Network, key: Key) -> Parameters:
    """Slow weights, and the rule's own parameters."""
    slow_key, rule_key = jax.random.split(key)
    backbone = network.backbone
    return Parameters(
        backbone.init(slow_key), network.rule.init(rule_key, backbone.shapes, backbone.head)
    )


def init_state(network: Network, steps: int, dtype: DType) -> EpisodeState:
    """The state before the first of `steps` steps: no fast weight, no past."""
    fast = {
        name: network.memory.init(shape, steps, dtype)
        for name, shape in network.backbone.shapes.items()
    }
    return EpisodeState(fast, network.backbone.start(steps, dtype))


def _observe(
    network: Network, params: Parameters, state: EpisodeState, x: Array, t: Array, key: Key | None
) -> tuple[Outputs, dict[str, Activity], PyTree]:
    """Runs the network on x [I] at step t, with credit if the rule has an internal loss."""

    def forward(probe: dict[str, Array]) -> tuple[Array, Forward]:
        def fast(name: str, pre: Array) -> Array:
            synapse = params.plasticity.synapses[name]
            return jax.vmap(lambda p: network.memory.read(state.fast[name], synapse, p))(
                pre
            ) + probe.get(name, 0.0)

        out = network.backbone.forward(params.slow, state.past, x[None], t[None], fast, key)
        out = out._replace(
            outputs=jax.tree.map(lambda a: a[0], out.outputs),
            activities=jax.tree.map(lambda a: a[0], out.activities),
        )
        if network.rule.internal_loss is None:
            return jnp.zeros(()), out
        return network.rule.internal_loss(params.plasticity, out.outputs), out

    if network.rule.internal_loss is None:
        _, out = forward({})
        return out.outputs, out.activities, out.entry
    # The gradient of a zero added to post is the credit; no weight-shaped gradient is ever formed.
    probe = {name: jnp.zeros((s.outputs,), x.dtype) for name, s in network.backbone.shapes.items()}
    credit, out = jax.grad(forward, has_aux=True)(probe)
    activities = {name: a._replace(credit=credit[name]) for name, a in out.activities.items()}
    return out.outputs, activities, out.entry


def step(
    network: Network, params: Parameters, state: EpisodeState, x: Array, t: Array, key: Key | None
) -> tuple[Entry, Outputs]:
    """One step: what the network answers to x [I], and what the step adds to the state.

    Args:
      network: the parts.
      params: slow weights and theta.
      state: what earlier steps left.
      x: input, [I].
      t: position, [] int32.
      key: seeds dropout; None: no dropout.
    """
    if network.meta_gradient == "truncated":
        params = params._replace(plasticity=jax.lax.stop_gradient(params.plasticity))
    outputs, activities, past = _observe(network, params, state, x, t, key)
    writes = network.rule.write(params.plasticity, outputs.modulator, activities)
    if network.meta_gradient == "truncated":
        writes = jax.lax.stop_gradient(writes)
    return Entry(writes, past), outputs


def advance(network: Network, state: EpisodeState, entry: Entry, t: Array) -> EpisodeState:
    """The state after step t."""
    fast = {
        name: network.memory.apply(state.fast[name], write) for name, write in entry.writes.items()
    }
    return EpisodeState(fast, network.backbone.extend(state.past, entry.past, t[None]))


def scan_episode(
    network: Network,
    params: Parameters,
    inputs: Array,
    key: Key | None = None,
    record: Callable[[EpisodeState], Any] = lambda state: None,
) -> Trace:
    """An episode step by step, for any rule.

    Args:
      network: the parts.
      params: slow weights and theta.
      inputs: [T, I].
      key: seeds dropout; None: no dropout.
      record: called with the state after each step's write; its results come back stacked.
    """
    steps = inputs.shape[0]

    def body(state: EpisodeState, scanned: tuple[Array, Array]) -> tuple[EpisodeState, Any]:
        x, t = scanned
        step_key = None if key is None else jax.random.fold_in(key, t)
        entry, outputs = step(network, params, state, x, t, step_key)
        state = advance(network, state, entry, t)
        return state, (outputs, entry.writes, record(state))

    state = init_state(network, steps, inputs.dtype)
    scanned = (inputs, jnp.arange(steps, dtype=jnp.int32))
    state, (outputs, writes, recorded) = _chunked_scan(body, state, scanned, steps, network.remat)
    return Trace(outputs, writes, state.fast, recorded)


def _chunked_scan(
    body: Callable, state: PyTree, scanned: PyTree, steps: int, chunk: int
) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan` whose backward pass keeps only the states at chunk boundaries."""
    if not 0 < chunk < steps:
        return jax.lax.scan(body, state, scanned)
    whole = steps // chunk * chunk
    run_chunk = jax.checkpoint(lambda s, xs: jax.lax.scan(body, s, xs))
    chunks = jax.tree.map(lambda a: a[:whole].reshape(-1, chunk, *a.shape[1:]), scanned)
    state, out = jax.lax.scan(run_chunk, state, chunks)
    out = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), out)
    if whole == steps:
        return state, out
    state, rest = run_chunk(state, jax.tree.map(lambda a: a[whole:], scanned))
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, rest)


def parallel_episode(
    network: Network, params: Parameters, inputs: Array, key: Key | None = None
) -> Trace:
    """An episode with fast weights held at zero: all T steps at once, an ordinary network."""
    positions = jnp.arange(inputs.shape[0], dtype=jnp.int32)
    past = network.backbone.start(0, inputs.dtype)

    def no_fast_weights(name: str, pre: Array) -> Array:
        return jnp.zeros((), pre.dtype)

    out = network.backbone.forward(params.slow, past, inputs, positions, no_fast_weights, key)
    return Trace(out.outputs, {}, {}, None)


def run_episode(
    network: Network, params: Parameters, inputs: Array, key: Key | None = None
) -> Trace:
    """The episode inputs [T, I], in parallel over time where the rule never writes."""
    run = parallel_episode if network.rule.static else scan_episode
    return run(network, params, inputs, key)
