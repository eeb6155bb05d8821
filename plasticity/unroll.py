"""Many episodes at once, in less time and memory than `plasticity.episode`, with the same result.

With an append-only memory, time is cut in chunks of C = `Memory.chunk` steps. Example, T = 5 and
C = 2, chunks (0, 1), (2, 3) and (4):

  chunk (2, 3) receives a `NetworkState`: w_2, the base of each memory, and the past, entries 0, 1.
  Step 2 reads w_2 and entries 0, 1; it appends row 2 (its write) and entry 2.
  Step 3 reads w_2, row 2 and entries 0, 1, 2; it appends row 3 and entry 3.
  At its end the chunk adds its rows to the base, which gives w_4, and its entries to the past.
  Chunk (4) receives w_4 and entries 0 to 3, or fewer if the backbone's window is shorter.

Why chunks: within one, fast weights and the past are histories that only grow, which `append_scan`
differentiates without storing a state per step. The state before the chunk is constant during it,
so its gradient is formed once per chunk, as one matrix product, instead of once per step. Chunks of
one length share one compiled program, by `lax.scan` over chunks, unless a memory `grows`.

Why episodes are mapped over the step, inside the scan: `vmap(append_scan)` would hold one gradient
of the slow weights per episode, B copies, and sum them at the end. In `append_scan(vmap(step))` the
matrix products that form this gradient also sum over episodes.
"""

import contextlib
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.append_scan import append_scan
from plasticity.at_once import parallel_episode
from plasticity.episode import answer_queries, scan_episode, step
from plasticity.memories import applied, closed, in_common, joined, opened, part_of
from plasticity.network import (
    EPISODES,
    EpisodeState,
    EpisodeTrace,
    Network,
    NetworkState,
    Parameters,
    float_type,
)
from plasticity.pieces import (
    differentiated,
    extended,
    for_each_episode,
    initial_state,
    prepare,
    step_key,
    visible_steps,
    with_blanks,
)
from plasticity.registry import lookup
from plasticity.steps import join
from plasticity.types import Array, FastState, Key, Outputs, PyTree, Token, Write

# {model.matmul_precision: JAX's name}. Accumulators and all state keep their dtype. On a CPU, XLA
# multiplies in float32 in any case.
MATMUL_PRECISIONS = {
    "default": None,  # of the device: float32 on CPU, TF32 on recent GPUs, bfloat16 on TPU
    "float32": "float32",
    "bfloat16": "BF16_BF16_F32",
}


class ChunkRows(NamedTuple):
    """Histories of one chunk, to which every step appends a row; leaves [B, C, ...]."""

    fast: dict[str, PyTree]  # {layer: history of its memory}
    past: PyTree  # one segment


def run_episodes(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    keys: Key | None = None,
    queries: PyTree | None = None,
    state: NetworkState | None = None,
) -> EpisodeTrace:
    """Runs B episodes: in parallel over time, by `append_scan` or step by step, as the parts allow.

    An episode may be run in pieces: the `EpisodeTrace.state` of one is the `state` of the next.

    Args:
      network: the parts.
      params: slow weights and theta.
      inputs: [B, T, I], an array or an `Observation`.
      keys: [B], seed dropout; None: no dropout. Masks go by position, but those of attention,
        and all under a static rule, also depend on how an episode is cut in pieces.
      queries: [B, Q, I], answered after the last step; None: there are none.
      state: the state before the first of these steps; None: they begin the episode.

    Returns:
      The trace, all leaves but `state.position` [B, ...].

    Raises:
      ValueError: `network.matmul_precision` is not a name in `MATMUL_PRECISIONS`.
    """
    precision = lookup(MATMUL_PRECISIONS, network.matmul_precision, "model.matmul_precision")
    with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
        engines = [network.memory] if network.layers else []
        engines += [network.at_site(name)[1] for name in network.sites]
        if not network.at_once and all(engine.append_only for engine in engines):
            return append_episodes(network, params, inputs, keys, queries, state)
        run = parallel_episode if network.at_once else scan_episode
        each, axes = for_each_episode(params, jax.tree.leaves(inputs)[0].shape[0])
        run_all = jax.vmap(
            partial(run, network),
            in_axes=(axes, 0, 0, 0, None if state is None else EPISODES),
            out_axes=EpisodeTrace._make((0, 0, 0, EPISODES, 0)),
        )
        return run_all(each, inputs, keys, queries, state)


def run_episode(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    key: Key | None = None,
    queries: PyTree | None = None,
    state: NetworkState | None = None,
) -> EpisodeTrace:
    """Runs one episode, inputs [T, I], queries [Q, I]: `run_episodes` without B; its errors."""
    inputs, key, queries, one = jax.tree.map(lambda a: a[None], (inputs, key, queries, state))
    if state is not None:
        one = one._replace(position=state.position)
    trace = run_episodes(network, params, inputs, key, queries, one)
    return jax.tree.map(lambda a: a[0] if jnp.ndim(a) else a, trace)  # all but `position`


def append_episodes(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    keys: Key | None,
    queries: PyTree | None,
    state: NetworkState | None,
) -> EpisodeTrace:
    """Runs B episodes with an append-only memory. Arguments as for `run_episodes`."""
    episodes, steps = jax.tree.leaves(inputs)[0].shape[:2]
    if state is None:
        state = initial_state(network, params, episodes, slots=0)
    else:
        fast, past = differentiated((state.fast, state.past), (params, inputs))
        state = state._replace(fast=fast, past=past)
    prepared, prepared_queries, ahead = jax.vmap(
        lambda state, x, query, key: prepare(network, params, state, x, query, key),
        in_axes=(EPISODES, 0, 0, 0),
    )(state, inputs, queries, keys)
    prepared = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), prepared)  # [T, B, ...]

    memory, first, past = network.memory, state.position, state.past
    slots = visible_steps(network, past, steps, axis=1)
    if not memory.grows:
        past = with_blanks(network, params, past, slots, axis=1)

    def run(state: NetworkState, xs: PyTree) -> tuple[NetworkState, Any]:
        return _chunk(network, params, state, xs, keys, slots)

    state = NetworkState(state.fast, past, (), jnp.asarray(first))
    chunk = min(memory.chunk or steps, steps)
    state, trace = _over_chunks(run, state, prepared, steps, chunk, memory.grows)
    outputs, writes, tokens, auxiliary = trace
    state = state._replace(ahead=ahead, position=first + steps)
    answers = None if queries is None else _answers(network, params, state, prepared_queries, keys)
    return EpisodeTrace(jax.vmap(join)(outputs, answers), writes, tokens, state, auxiliary)


def _answers(
    network: Network,
    params: Parameters,
    state: NetworkState,
    queries: PyTree,
    keys: Key | None,
) -> Outputs:
    """Answers [B, Q, ...] to prepared queries [B, Q, ...], after the last chunk."""

    def answer(state: NetworkState, queries: PyTree, key: Key | None) -> Outputs:
        # Queries write nothing, so they are a chunk with no slots.
        episode = EpisodeState(opened(network, state.fast, 0), (state.past,))
        end = state.position
        return answer_queries(network, params, episode, queries, end, step_key(key, end))

    return jax.vmap(answer, in_axes=(EPISODES, 0, 0))(state, queries, keys)


def _over_chunks(
    run: Any, state: NetworkState, xs: PyTree, steps: int, chunk: int, grows: bool
) -> tuple[NetworkState, Any]:
    """Runs chunk after chunk and joins their outputs to [B, T, ...].

    Chunks of full length share one program, by `lax.scan`, unless their state grows; the last,
    shorter one has its own. Example, steps = 5 and chunk = 2: a scan over 2 chunks, then step 4.
    """
    whole = steps // chunk
    outs, start = [], 0
    if not grows and whole > 1:
        start = whole * chunk
        cut = jax.tree.map(lambda a: a[:start].reshape(whole, chunk, *a.shape[1:]), xs)
        state, out = jax.lax.scan(run, state, cut)
        # [chunks, B, C, ...] -> [B, T, ...]
        out = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), out)
        outs.append(jax.tree.map(lambda a: a.reshape(a.shape[0], start, *a.shape[3:]), out))
    for first in range(start, steps, chunk):
        stop = min(first + chunk, steps)
        state, out = run(state, jax.tree.map(lambda a: a[first:stop], xs))  # noqa: B023
        outs.append(out)
    return state, jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *outs)


def _chunk(
    network: Network,
    params: Parameters,
    state: NetworkState,
    xs: PyTree,
    keys: Key | None,
    slots: int,
) -> tuple[NetworkState, tuple[Outputs, dict[str, Write], dict[str, Token], Array | None]]:
    """Runs one chunk of steps, xs [C, B, ...]; its results are [B, C, ...].

    The state after it has the last `slots` entries of the past.
    """
    steps, episodes = jax.tree.leaves(xs)[0].shape[:2]
    bases = jax.vmap(lambda fast: opened(network, fast, steps))(state.fast)
    base, carry, blank_rows = (part_of(bases, field) for field in FastState._fields)
    blank_past = jax.tree.map(
        lambda a: jnp.broadcast_to(a, (episodes, *a.shape)),
        network.backbone.blank(steps, float_type(params)),
    )
    stripped, restored = in_common(network, params, carry)

    def step_of_one(fixed: Any, carry: PyTree, rows: ChunkRows, x: PyTree, slot: Array) -> Any:
        """Step number `slot` of the chunk, of one episode, as `append_scan` calls it."""
        (params, first), (base, earlier, key) = fixed
        fast = joined(network, base, restored(carry), rows.fast)
        t = first + slot
        episode = EpisodeState(fast, (earlier, rows.past), slot)
        record, outputs = step(network, params, episode, x, t, step_key(key, t))
        carry, row = applied(network, fast, record, slot)
        factors = {n: (w.rate, w.keep, w.momentum) for n, w in record.writes.items()}
        kept = (outputs, factors, record.tokens, record.auxiliary)
        return stripped(carry), ChunkRows(row, record.past), kept

    # Constant during the chunk: parameters, which all episodes share, and the state before it.
    fixed = ((params, state.position), (base, state.past, keys))
    step_of_all = jax.vmap(step_of_one, in_axes=((None, 0), 0, 0, 0, None))
    blank = ChunkRows(blank_rows, blank_past)
    # Of the past, a step reads the last entries alone.
    read = network.backbone.window if 0 < network.backbone.window < steps else 0
    every, last = (jax.tree.map(lambda _, n=n: n, b) for b, n in zip(blank, (0, read), strict=True))
    window, carry = ChunkRows(every, last), stripped(carry)
    carry, rows, out = append_scan(step_of_all, fixed, carry, blank, xs, axis=1, window=window)
    outputs, factors, tokens, auxiliary = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), out)
    # `left` and `right` of the writes are the rows themselves.
    writes = {n: Write(*rows.fast[n], *factors[n]) for n in network.layers}
    fast = joined(network, base, restored(carry), rows.fast)
    fast = jax.vmap(lambda fast: closed(network, fast))(fast)
    past = extended(state.past, rows.past, slots, axis=1)
    after = NetworkState(fast, past, state.ahead, state.position + steps)
    return after, (outputs, writes, tokens, auxiliary)
