"""One episode: the network reads, answers, and rewrites its fast weights after every step.

Order within step t: read w_t -> outputs y_t and modulator g_t -> write -> w_{t+1}. What is written
at t is therefore first readable at t + 1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from plasticity.memory import advance, append
from plasticity.network import Entry, EpisodeState, EpisodeTrace, Network, Parameters, float_type
from plasticity.steps import join, length, no_fast_weights
from plasticity.types import (
    Activity,
    Array,
    Forward,
    Key,
    Outputs,
    PyTree,
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
        out = network.backbone.forward(params.slow, state.past, prepared, t[None], fast, key, False)
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
    dtype = float_type(params)
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
    params, state = _truncated(network, params, state)
    outputs, activities, past = _observe(network, params, state, x, t, key)
    writes = network.rule.write(params.plasticity, outputs.modulator, activities)
    if network.intervention is not None:
        writes = network.intervention(writes, t)
    if network.meta_gradient == "truncated":
        writes = jax.lax.stop_gradient(writes)
    return Entry(writes, past), outputs


def ask(
    network: Network,
    params: Parameters,
    state: EpisodeState,
    queries: PyTree,
    t: Array,
    key: Key | None,
) -> Outputs:
    """Answers [Q, ...] to prepared queries [Q, ...], each asked alone after t steps.

    Nothing is written. Other arguments as for `step`.
    """
    params, state = _truncated(network, params, state)
    memory = network.memory

    def fast(name: str, pre: Array) -> Array:
        synapse = params.plasticity.synapses[name]
        if synapse.alpha is not None:  # a matrix as large as the weights: met once, for all queries
            weights = memory.weights(memory.close(state.fast[name]), synapse)
            return pre @ weights.weight.T + weights.bias
        return jax.vmap(lambda x: memory.read(state.fast[name], synapse, x))(pre)

    position = jnp.full((length(queries),), t)
    forward = network.backbone.forward
    return forward(params.slow, state.past, queries, position, fast, key, True).outputs


def _truncated(
    network: Network, params: Parameters, state: EpisodeState
) -> tuple[Parameters, EpisodeState]:
    """Both as they are, or, under the truncated meta-gradient, plasticity as constants."""
    if network.meta_gradient != "truncated":
        return params, state
    params = params._replace(plasticity=jax.lax.stop_gradient(params.plasticity))
    # Writes are constants already; saying so here spares the adjoint of every read.
    return params, state._replace(fast=jax.lax.stop_gradient(state.fast))


def prepare(
    network: Network, params: Parameters, inputs: PyTree, queries: PyTree | None, key: Key | None
) -> tuple[PyTree, PyTree | None]:
    """`Backbone.prepare`, of inputs as numbers of the type that the parameters have."""
    dtype = float_type(params)

    def cast(a: Array) -> Array:
        return a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a

    inputs, queries = jax.tree.map(cast, (inputs, queries))
    return network.backbone.prepare(params.slow, inputs, queries, key)


def step_key(key: Key | None, t: Array) -> Key | None:
    """The dropout key of a step."""
    return None if key is None else jax.random.fold_in(key, t)


def visible_steps(network: Network, steps: int) -> int:
    """How many past steps the backbone can see at most in an episode of `steps` steps."""
    return max(min(network.backbone.window or steps, steps), 0)


def scan_episode(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    key: Key | None = None,
    queries: PyTree | None = None,
) -> EpisodeTrace:
    """An episode step by step, as plain as can be, for any rule and any memory.

    JAX differentiates it step by step too, keeping the state after every step; after every
    `Memory.chunk` steps only, if that is set, and doing the others again. It is the definition of
    what `plasticity.unroll` computes in less time and memory.

    Args:
      network: the parts.
      params: slow weights and theta.
      inputs: [T, I].
      key: seeds dropout; None: no dropout.
      queries: [Q, I], asked after the last step; None: there are none.
    """
    steps, memory, shapes = length(inputs), network.memory, network.backbone.shapes
    slots, dtype = visible_steps(network, steps), float_type(params)

    def body(state: EpisodeState, scanned: tuple[PyTree, Array]) -> tuple[EpisodeState, Any]:
        x, t = scanned
        entry, outputs = step(network, params, state, x, t, step_key(key, t))
        fast = {name: advance(memory, state.fast[name], w, t) for name, w in entry.writes.items()}
        # A ring: the entry takes the place of the oldest one that is still seen.
        past = append(state.past[0], entry.past, t % slots) if slots else state.past[0]
        return EpisodeState(fast, (past,)), (outputs, entry.writes)

    fast = {
        name: memory.open(memory.init(shape, dtype), shape, steps, network.rule.per_output)
        for name, shape in shapes.items()
    }
    state = EpisodeState(fast, (network.backbone.blank(slots, dtype),))
    x, asked = prepare(network, params, inputs, queries, key)
    scanned = (x, jnp.arange(steps, dtype=jnp.int32))
    chunk = 0 if memory.append_only else memory.chunk
    state, (outputs, writes) = _chunked_scan(body, state, scanned, steps, chunk)
    end = jnp.asarray(steps, jnp.int32)
    answers = (
        None if queries is None else ask(network, params, state, asked, end, step_key(key, end))
    )
    closed = {name: memory.close(s) for name, s in state.fast.items()}
    return EpisodeTrace(join(outputs, answers), writes, closed)


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
    network: Network,
    params: Parameters,
    inputs: PyTree,
    key: Key | None = None,
    queries: PyTree | None = None,
) -> EpisodeTrace:
    """An episode with fast weights held at zero: all T steps at once, an ordinary network."""
    steps, backbone, slow = length(inputs), network.backbone, params.slow
    x, asked = prepare(network, params, inputs, queries, key)
    own = step_key(key, jnp.zeros((), jnp.int32))
    position = jnp.arange(steps, dtype=jnp.int32)
    out = backbone.forward(slow, (), x, position, no_fast_weights, own, False)
    if queries is None:
        return EpisodeTrace(out.outputs, {}, {})
    end = jnp.asarray(steps, jnp.int32)
    position, own = jnp.full((length(queries),), end), step_key(key, end)
    answers = backbone.forward(slow, (out.entry,), asked, position, no_fast_weights, own, True)
    return EpisodeTrace(join(out.outputs, answers.outputs), {}, {})
