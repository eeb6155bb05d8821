"""One episode: the network reads, answers, and rewrites its fast weights after every step.

Order within step t: read w_t -> outputs y_t and modulator g_t -> write -> w_{t+1}. What is written
at t is therefore first readable at t + 1.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.memory import advance, append
from plasticity.types import (
    Activity,
    Array,
    Backbone,
    FastState,
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
    products: in which numbers `plasticity.unroll` multiplies matrices; a name of `PRODUCTS`.
    """

    backbone: Backbone
    rule: Rule
    memory: Memory
    meta_gradient: str = "full"
    products: str = "default"


class Parameters(NamedTuple):
    """What the outer loop learns."""

    slow: PyTree
    plasticity: Plasticity


class EpisodeState(NamedTuple):
    """What a step sees of the steps before it."""

    fast: dict[str, FastState]
    past: Sequence[PyTree]  # the backbone's segments


class Entry(NamedTuple):
    """What one step adds to the state."""

    writes: dict[str, Write]
    past: PyTree


class Trace(NamedTuple):
    """A whole episode."""

    outputs: Outputs  # [T, ...]
    writes: dict[str, Write]  # {layer: [T, ...]}; empty under a static rule
    fast: dict[str, PyTree]  # {layer: base of the memory after the last write}; or empty


def init_parameters(network: Network, key: Key) -> Parameters:
    """Slow weights, and the rule's own parameters."""
    slow_key, rule_key = jax.random.split(key)
    backbone = network.backbone
    return Parameters(
        backbone.init(slow_key), network.rule.init(rule_key, backbone.shapes, backbone.head)
    )


def _observe(
    network: Network, params: Parameters, state: EpisodeState, x: PyTree, t: Array, key: Key | None
) -> tuple[Outputs, dict[str, Activity], PyTree]:
    """Runs the network on prepared x at step t, with credit if the rule has an internal loss."""

    def forward(probe: dict[str, Array]) -> tuple[Array, Forward]:
        def fast(name: str, pre: Array) -> Array:
            synapse = params.plasticity.synapses[name]
            return (network.memory.read(state.fast[name], synapse, pre[0]) + probe.get(name, 0))[
                None
            ]

        prepared = jax.tree.map(lambda a: a[None], x)
        out = network.backbone.forward(params.slow, state.past, prepared, t[None], fast, key)
        out = out._replace(
            outputs=jax.tree.map(lambda a: a[0], out.outputs),
            activities=jax.tree.map(lambda a: a[0], out.activities),
            entry=jax.tree.map(lambda a: a[0], out.entry),
        )
        if network.rule.internal_loss is None:
            return jnp.zeros(()), out
        return network.rule.internal_loss(params.plasticity, out.outputs), out

    if network.rule.internal_loss is None:
        _, out = forward({})
        return out.outputs, out.activities, out.entry
    # The gradient of a zero added to post is the credit; no weight-shaped gradient is ever formed.
    shapes = network.backbone.shapes
    dtype = jax.tree.leaves(params.slow)[0].dtype
    probe = {name: jnp.zeros((shape.outputs,), dtype) for name, shape in shapes.items()}
    credit, out = jax.grad(forward, has_aux=True)(probe)
    activities = {name: a._replace(credit=credit[name]) for name, a in out.activities.items()}
    return out.outputs, activities, out.entry


def step(
    network: Network, params: Parameters, state: EpisodeState, x: PyTree, t: Array, key: Key | None
) -> tuple[Entry, Outputs]:
    """One step: what the network answers, and what the step adds to the state.

    Args:
      network: the parts.
      params: slow weights and theta.
      state: what earlier steps left.
      x: the step's part of what `Backbone.prepare` made of the inputs.
      t: position, [] int32.
      key: seeds dropout; None: no dropout.
    """
    if network.meta_gradient == "truncated":
        params = params._replace(plasticity=jax.lax.stop_gradient(params.plasticity))
        # Writes are constants already; saying so here spares the adjoint of every read.
        state = state._replace(fast=jax.lax.stop_gradient(state.fast))
    outputs, activities, past = _observe(network, params, state, x, t, key)
    writes = network.rule.write(params.plasticity, outputs.modulator, activities)
    if network.meta_gradient == "truncated":
        writes = jax.lax.stop_gradient(writes)
    return Entry(writes, past), outputs


def prepare(network: Network, params: Parameters, inputs: Array, key: Key | None) -> PyTree:
    """What the backbone makes of inputs [T, I] before any fast weight: [T, ...]."""
    positions = jnp.arange(inputs.shape[0], dtype=jnp.int32)
    return network.backbone.prepare(params.slow, inputs, positions, key)


def step_key(key: Key | None, t: Array) -> Key | None:
    """The dropout key of a step."""
    return None if key is None else jax.random.fold_in(key, t)


def span(network: Network, steps: int) -> int:
    """How many past steps the backbone can see at most in an episode of `steps` steps."""
    return min(network.backbone.window or steps, steps)


def scan_episode(
    network: Network, params: Parameters, inputs: Array, key: Key | None = None
) -> Trace:
    """An episode step by step, as plain as can be, for any rule and any memory.

    JAX differentiates it step by step too, keeping the state after every step; after every
    `Memory.chunk` steps only, if that is set, and doing the others again. It is the definition of
    what `plasticity.unroll` computes in less time and memory.

    Args:
      network: the parts.
      params: slow weights and theta.
      inputs: [T, I].
      key: seeds dropout; None: no dropout.
    """
    steps, memory, shapes = inputs.shape[0], network.memory, network.backbone.shapes
    slots = span(network, steps)

    def body(state: EpisodeState, scanned: tuple[PyTree, Array]) -> tuple[EpisodeState, Any]:
        x, t = scanned
        entry, outputs = step(network, params, state, x, t, step_key(key, t))
        fast = {name: advance(memory, state.fast[name], w, t) for name, w in entry.writes.items()}
        # A ring: the entry takes the place of the oldest one that is still seen.
        past = append(state.past[0], entry.past, t % slots)
        return EpisodeState(fast, (past,)), (outputs, entry.writes)

    fast = {
        name: memory.open(memory.init(shape, inputs.dtype), shape, steps, network.rule.per_output)
        for name, shape in shapes.items()
    }
    state = EpisodeState(fast, (network.backbone.blank(slots, inputs.dtype),))
    scanned = (prepare(network, params, inputs, key), jnp.arange(steps, dtype=jnp.int32))
    chunk = 0 if memory.append_only else memory.chunk
    state, (outputs, writes) = _chunked_scan(body, state, scanned, steps, chunk)
    return Trace(outputs, writes, {name: memory.close(s) for name, s in state.fast.items()})


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

    def no_fast_weights(name: str, pre: Array) -> Array:
        return jnp.zeros((), pre.dtype)

    x = prepare(network, params, inputs, key)
    out = network.backbone.forward(
        params.slow, (), x, positions, no_fast_weights, step_key(key, jnp.zeros((), jnp.int32))
    )
    return Trace(out.outputs, {}, {})
