"""One episode: the network reads, answers, and rewrites its fast weights after every step.

Order within step t: read w_t -> outputs y_t and modulator g_t -> write -> w_{t+1}. The write of
step t is first read at step t + 1. Example, T = 3 steps and Q = 2 queries:

  step 0   reads w_0 = 0     writes w_1
  step 1   reads w_1         writes w_2     attends to entry 0 of the past
  step 2   reads w_2         writes w_3     attends to entries 0, 1
  queries  read w_3          write nothing  attend to entries 0, 1, 2, not to each other

`scan_episode` is this definition; `plasticity.unroll` computes the same faster, and
`plasticity.at_once` where no plastic layer is written: memory sites need not be taken step by step.

An episode may be run in pieces of any lengths: each takes the `NetworkState` that the one before it
left, and together they equal one run over all steps, in values and gradients.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from plasticity.backbone import FastRead, Forward
from plasticity.heads import step_site, write_site
from plasticity.memories import advanced, asked, closed, first_row, opened
from plasticity.memory import append, silenced
from plasticity.network import (
    EpisodeState,
    EpisodeTrace,
    Network,
    NetworkState,
    Parameters,
    StepRecord,
    float_type,
)
from plasticity.pieces import (
    initial_state,
    prepare,
    step_key,
    visible_steps,
    with_blanks,
)
from plasticity.steps import checkpointed_scan, join, length
from plasticity.synapse import PLAIN
from plasticity.types import Array, Key, Outputs, PyTree, Token


def _observe(
    network: Network, params: Parameters, state: EpisodeState, x: PyTree, t: Array, key: Key | None
) -> tuple[Outputs, dict[str, Any], PyTree]:
    """Runs the backbone on prepared x at step t, with credit if the rule has an internal loss.

    Credit is the gradient of the internal loss with respect to a zero `probe` [O] that is added to
    post. It costs vectors only, whereas the gradient with respect to the fast weights would form a
    matrix [O, I] per layer and step.
    """
    internal_loss, memory = network.rule.internal_loss, network.memory

    def forward(probe: dict[str, Array]) -> tuple[Array, Forward]:
        def read(name: str, pre: Array) -> Array:
            if name not in network.layers:
                return jnp.zeros((), pre.dtype)
            synapse = params.plasticity.synapses.get(name, PLAIN)
            recall = memory.read(state.fast[name], synapse, pre[0])
            return (recall + probe.get(name, 0))[None]

        def write_and_answer(name: str, tokens: Token) -> Array:
            if not network.site_writes or name not in network.sites:
                return asked(network, state.fast, name, tokens)
            rule, engine = network.at_site(name)
            token, slot = first_row(tokens), state.slot
            assert slot is not None  # a step writes
            return step_site(rule, engine, state.fast[name], token, slot)[None]

        recall = partial(asked, network, state.fast)
        fast = FastRead(read, write_and_answer, recall)
        stacked = jax.tree.map(lambda a: a[None], x)  # a backbone takes S steps; here S = 1
        out = network.backbone.forward(params.slow, state.past, stacked, t[None], fast, key, False)
        out = first_row(out)
        loss = internal_loss(params.plasticity, out.outputs) if internal_loss else jnp.zeros(())
        return loss, out

    if internal_loss is None:
        _, out = forward({})
        return out.outputs, out.activities, out.entry
    dtype = float_type(params)
    probe = {n: jnp.zeros((s.outputs,), dtype) for n, s in network.backbone.shapes.items()}
    credit, out = jax.grad(forward, has_aux=True)(probe)
    activities = {n: out.activities[n]._replace(credit=c) for n, c in credit.items()}
    return out.outputs, out.activities | activities, out.entry


def step(
    network: Network, params: Parameters, state: EpisodeState, x: PyTree, t: Array, key: Key | None
) -> tuple[StepRecord, Outputs]:
    """Computes one step.

    Args:
      network: the parts.
      params: slow weights and theta.
      state: the state before the step.
      x: the step's slice of the inputs as `prepare` returns them, without the axis T.
      t: position, [] int32.
      key: seeds dropout; None: no dropout.

    Returns:
      What the step adds to the state, and its outputs without a leading axis. The caller applies
      the writes, because engines apply them differently.

    Raises:
      ValueError: the rule writes other layers than those that are plastic.
    """
    trained = params.plasticity  # what an auxiliary loss trains, even if the rest is truncated
    params, state = _truncated(network, params, state)
    outputs, activities, past = _observe(network, params, state, x, t, key)
    writes, site_writes, auxiliary = {}, {}, None
    layers, share = {name: activities[name] for name in network.layers}, network.backbone.share
    if share is not None:
        layers = share.whole(layers)
    if layers and network.rule.write is not None:  # `prepare` has raised if it is None
        writes = network.rule.write(params.plasticity, outputs.modulator, layers)
        if sorted(writes) != sorted(layers):
            raise ValueError(
                f"Rule.write returned writes of the layers {sorted(writes)}, it should write "
                f"{sorted(layers)}"
            )
        if network.rule.auxiliary is not None:
            auxiliary = network.rule.auxiliary(trained, layers)
    tokens = {name: activities[name] for name in network.sites}
    for name, token in tokens.items():
        # `_observe` computes the same write. The compiler merges the two.
        found = write_site(*network.at_site(name), state.fast[name], token)
        if not network.site_writes:
            found = {layer: silenced(write) for layer, write in found.items()}
        site_writes[name] = found
    if network.intervention is not None:
        writes = network.intervention(writes, t)
    if network.meta_gradient == "truncated":
        writes, site_writes = jax.lax.stop_gradient((writes, site_writes))
    if share is not None:
        writes = share.parts(network.rule.form, writes)
    return StepRecord(writes, site_writes, tokens, past, auxiliary), outputs


def answer_queries(
    network: Network,
    params: Parameters,
    state: EpisodeState,
    queries: PyTree,
    t: Array,
    key: Key | None,
) -> Outputs:
    """Answers independent queries from the state after t steps; nothing is written.

    Args:
      network, params, key: as for `step`.
      state: the state after t steps.
      queries: [Q, ...], as `prepare` returns them.
      t: position of every query, [] int32.

    Returns:
      Outputs [Q, ...].
    """
    params, state = _truncated(network, params, state)
    memory = network.memory

    def read(name: str, pre: Array) -> Array:
        if name not in network.layers:
            return jnp.zeros((), pre.dtype)
        synapse = params.plasticity.synapses.get(name, PLAIN)
        if synapse.alpha is not None:
            # alpha [O, I] costs as much to read as the weights: form w once, for all queries.
            weights = memory.weights(memory.close(state.fast[name]), synapse)
            return pre @ weights.weight.T + weights.bias
        return jax.vmap(lambda x: memory.read(state.fast[name], synapse, x))(pre)

    recall = partial(asked, network, state.fast)
    fast = FastRead(read, recall, recall)
    position = jnp.full((length(queries),), t)
    forward = network.backbone.forward
    return forward(params.slow, state.past, queries, position, fast, key, True).outputs


def _truncated(
    network: Network, params: Parameters, state: EpisodeState
) -> tuple[Parameters, EpisodeState]:
    """Stops the gradients of theta and fast weights if the meta-gradient is truncated."""
    if network.meta_gradient != "truncated":
        return params, state
    params = params._replace(plasticity=jax.lax.stop_gradient(params.plasticity))
    # Writes are constants already (see `step`); this one spares the adjoint of every read.
    return params, state._replace(fast=jax.lax.stop_gradient(state.fast))


def scan_episode(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    key: Key | None = None,
    queries: PyTree | None = None,
    state: NetworkState | None = None,
) -> EpisodeTrace:
    """Runs an episode step by step: the definition that `plasticity.unroll` has to equal.

    It serves any rule and any memory. Its backward pass stores the state after every step or, with
    an engine that is not append-only and has a chunk C, after every C steps, and computes the steps
    in between a second time.

    Args:
      network: the parts.
      params: slow weights and theta.
      inputs: [T, I], an array or an `Observation`.
      key: seeds dropout; None: no dropout.
      queries: [Q, I], answered after the last step; None: there are none.
      state: the state before the first of these steps; None: they begin the episode.
    """
    steps, memory = length(inputs), network.memory
    if state is None:
        state = initial_state(network, params, slots=0)
    slots, first = visible_steps(network, state.past, steps), state.position

    def body(
        episode: EpisodeState, scanned: tuple[PyTree, Array]
    ) -> tuple[EpisodeState, tuple[Outputs, StepRecord]]:
        x, slot = scanned
        t = first + slot
        record, outputs = step(network, params, episode._replace(slot=slot), x, t, step_key(key, t))
        after = advanced(network, episode.fast, record, slot)
        # A ring buffer: with slots = 2, step 5 overwrites the entry of step 3, which no later step
        # reads. Entries carry their positions, so their order does not matter.
        past = append(episode.past[0], record.past, slot % slots) if slots else episode.past[0]
        return EpisodeState(after, (past,), slot), (outputs, record)

    x, prepared_queries, ahead = prepare(network, params, state, inputs, queries, key)
    fast = opened(network, state.fast, steps)
    past = with_blanks(network, params, state.past, slots)
    episode = EpisodeState(fast, (past,), jnp.zeros((), jnp.int32))
    scanned = (x, jnp.arange(steps, dtype=jnp.int32))
    chunk = 0 if memory.append_only else memory.chunk
    episode, (outputs, records) = checkpointed_scan(body, episode, scanned, steps, chunk)
    answers, end = None, first + steps
    if queries is not None:
        query_key = step_key(key, end)
        answers = answer_queries(network, params, episode, prepared_queries, end, query_key)
    in_order = jax.tree.map(lambda a: jnp.roll(a, -steps, axis=0), episode.past[0])
    after = NetworkState(closed(network, episode.fast), in_order, ahead, end)
    parts = (records.writes, records.tokens, after, records.auxiliary)
    return EpisodeTrace(join(outputs, answers), *parts)
