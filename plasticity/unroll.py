"""Many episodes at once, the fast way: what `plasticity.episode` defines, by `append_scan`.

Time is cut in chunks (`Memory.chunk`). Within a chunk fast weights and the backbone's past are
histories that grow, and `append_scan` differentiates them without storing a state per step. What
earlier chunks left is constant there, so its gradient too is formed once a chunk, by matrix
products. Episodes are mapped over the step, inside the scan, so that the gradients of slow weights
are summed over episodes by the products that form them.
"""

import contextlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.append_scan import append_scan
from plasticity.episode import (
    ask,
    parallel_episode,
    prepare,
    scan_episode,
    step,
    step_key,
    visible_steps,
)
from plasticity.network import EpisodeState, EpisodeTrace, Network, Parameters, float_type
from plasticity.registry import lookup
from plasticity.steps import join
from plasticity.types import Array, FastState, Key, Outputs, PyTree, Write

# JAX's precision of matrix products. Accumulators and all state keep their dtype. XLA's CPU
# compiler multiplies in float32 in any case.
MATMUL_PRECISIONS = {
    "default": None,  # the device's: float32 on CPU, TF32 on recent GPUs, bfloat16 on TPU
    "float32": "float32",
    "bfloat16": "BF16_BF16_F32",
}


class ChunkState(NamedTuple):
    """What a chunk of steps leaves to the next one; episodes lead: [B, ...]."""

    fast: dict[str, PyTree]  # {layer: base of its memory}
    past: PyTree  # one segment


class ChunkRows(NamedTuple):
    """What the steps of a chunk append."""

    fast: dict[str, PyTree]
    past: PyTree


def run_episodes(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    keys: Key | None = None,
    queries: PyTree | None = None,
) -> EpisodeTrace:
    """B episodes, by the means that suit the rule and the memory.

    Args:
      network: the parts.
      params: slow weights and theta.
      inputs: [B, T, I].
      keys: [B], seed dropout; None: no dropout.
      queries: [B, Q, I], asked after the last step; None: there are none.

    Returns:
      The trace, with a leading axis B everywhere.
    """
    precision = lookup(MATMUL_PRECISIONS, network.matmul_precision, "model.matmul_precision")
    with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
        if network.memory.append_only and not network.rule.static:
            return append_episodes(network, params, inputs, keys, queries)
        run = parallel_episode if network.rule.static else scan_episode
        return jax.vmap(lambda x, key, asked: run(network, params, x, key, asked))(
            inputs, keys, queries
        )


def run_episode(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    key: Key | None = None,
    queries: PyTree | None = None,
) -> EpisodeTrace:
    """One episode, inputs [T, I]: `run_episodes` without the axis B."""
    batched = jax.tree.map(lambda a: a[None], (inputs, key, queries))
    return jax.tree.map(lambda a: a[0], run_episodes(network, params, *batched))


def append_episodes(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    keys: Key | None,
    queries: PyTree | None = None,
) -> EpisodeTrace:
    """B episodes with a memory that is append-only. Arguments as for `run_episodes`."""
    episodes, steps = jax.tree.leaves(inputs)[0].shape[:2]
    memory, shapes, dtype = network.memory, network.backbone.shapes, float_type(params)
    prepared, asked = jax.vmap(lambda x, asked, key: prepare(network, params, x, asked, key))(
        inputs, queries, keys
    )
    prepared = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), prepared)  # [T, B, ...]

    fast = {name: memory.init(shape, dtype) for name, shape in shapes.items()}
    seen = visible_steps(network, steps)
    past = network.backbone.blank(0 if memory.grows else seen, dtype)
    between = jax.tree.map(
        lambda a: jnp.broadcast_to(a, (episodes, *a.shape)), ChunkState(fast, past)
    )

    def run(between: ChunkState, scanned: tuple[PyTree, Array]) -> tuple[ChunkState, Any]:
        x, positions = scanned
        return _chunk(network, params, between, x, positions, keys, seen)

    scanned = (prepared, jnp.arange(steps, dtype=jnp.int32))
    chunk = min(memory.chunk or steps, steps)
    between, out = _over_chunks(run, between, scanned, steps, chunk, memory.grows)
    outputs, writes = out
    answers = None if queries is None else _ask(network, params, between, asked, steps, keys)
    return EpisodeTrace(jax.vmap(join)(outputs, answers), writes, between.fast)


def _ask(
    network: Network,
    params: Parameters,
    between: ChunkState,
    queries: PyTree,
    steps: int,
    keys: Key | None,
) -> Outputs:
    """Answers [B, Q, ...] to prepared queries, after the last chunk."""
    end = jnp.asarray(steps, jnp.int32)

    def one(between: ChunkState, queries: PyTree, key: Key | None) -> Outputs:
        # A chunk without writes.
        fast = {
            name: network.memory.open(between.fast[name], shape, 0, network.rule.per_output)
            for name, shape in network.backbone.shapes.items()
        }
        state = EpisodeState(fast, (between.past,))
        return ask(network, params, state, queries, end, step_key(key, end))

    return jax.vmap(one)(between, queries, keys)


def _over_chunks(
    run: Any, between: ChunkState, scanned: PyTree, steps: int, chunk: int, grows: bool
) -> tuple[ChunkState, Any]:
    """Runs chunk after chunk; those of one length by one program, unless their state grows."""
    whole = steps // chunk
    outs = []
    start = 0
    if not grows and whole > 1:
        start = whole * chunk
        cut = jax.tree.map(lambda a: a[:start].reshape(whole, chunk, *a.shape[1:]), scanned)
        between, out = jax.lax.scan(run, between, cut)
        # [chunks, B, C, ...] -> [B, T, ...]
        out = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), out)
        outs.append(jax.tree.map(lambda a: a.reshape(a.shape[0], start, *a.shape[3:]), out))
    for first in range(start, steps, chunk):
        stop = min(first + chunk, steps)
        between, out = run(between, jax.tree.map(lambda a: a[first:stop], scanned))  # noqa: B023
        outs.append(out)
    return between, jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *outs)


def _chunk(
    network: Network,
    params: Parameters,
    between: ChunkState,
    xs: PyTree,
    positions: Array,
    keys: Key | None,
    seen: int,
) -> tuple[ChunkState, tuple[Outputs, dict[str, Write]]]:
    """One chunk of steps, xs [C, B, ...] at positions [C]."""
    memory, steps = network.memory, len(positions)
    shapes, per_output = network.backbone.shapes, network.rule.per_output
    opened = {
        name: jax.vmap(lambda base, s=shape: memory.open(base, s, steps, per_output))(
            between.fast[name]
        )
        for name, shape in shapes.items()
    }
    example = jax.tree.leaves(xs)[0]
    episodes = example.shape[1]
    past = jax.tree.map(
        lambda a: jnp.broadcast_to(a, (episodes, *a.shape)),
        network.backbone.blank(steps, float_type(params)),
    )

    def one(fixed: Any, carry: PyTree, rows: ChunkRows, x: PyTree, slot: Array) -> Any:
        (params, first), (bases, earlier, key) = fixed
        fast = {n: FastState(bases[n], carry[n], rows.fast[n]) for n in shapes}
        t = first + slot
        state = EpisodeState(fast, (earlier, rows.past))
        entry, outputs = step(network, params, state, x, t, step_key(key, t))
        applied = {n: memory.apply(fast[n], w, slot) for n, w in entry.writes.items()}
        carry = {n: after for n, (after, _) in applied.items()}
        row = ChunkRows({n: row for n, (_, row) in applied.items()}, entry.past)
        return carry, row, (outputs, {n: (w.rate, w.keep) for n, w in entry.writes.items()})

    each = jax.vmap(one, in_axes=((None, 0), 0, 0, 0, None))
    fixed = ((params, positions[0]), ({n: s.base for n, s in opened.items()}, between.past, keys))
    carry = {n: s.carry for n, s in opened.items()}
    blank = ChunkRows({n: s.history for n, s in opened.items()}, past)
    carry, rows, out = append_scan(each, fixed, carry, blank, xs, axis=1)
    outputs, rates = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), out)  # [B, C, ...]
    writes = {n: Write(*rows.fast[n], *rates[n]) for n in shapes}
    fast = {
        n: jax.vmap(memory.close)(FastState(s.base, carry[n], rows.fast[n]))
        for n, s in opened.items()
    }
    # The last `seen` steps; while they are fewer, a past of fixed length begins with blanks.
    past = jax.tree.map(
        lambda old, new: _last(jnp.concatenate([old, new], axis=1), seen), between.past, rows.past
    )
    return ChunkState(fast, past), (outputs, writes)


def _last(rows: Array, count: int) -> Array:
    """The last rows, at most `count` of them, of [B, P, ...]."""
    return rows[:, max(rows.shape[1] - count, 0) :]
