"""Memory sites: a memory that is written and read by keys, values and queries of all steps.

Nothing at a memory site depends on the head of the network, so that its steps need not be taken one
by one. Chunks of them are taken at once where the rule is linear in the state, each by one
triangular solve (`plasticity.parallel`), and where its writes are taken at the state before a
stretch of tokens (`plasticity.frozen`). Otherwise, and as the definition of the above, they are
taken step by step.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from plasticity.frozen import run_frozen
from plasticity.memory.contract import check_chunk
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.memory.history import advance
from plasticity.parallel import plan_chunk, run_chunk
from plasticity.steps import checkpointed_scan, pieces_of, run_pieces
from plasticity.synapse import PLAIN
from plasticity.tokens import check_state, check_tokens, each_write, prepared_shape
from plasticity.types import (
    Array,
    FastState,
    LayerShape,
    Memory,
    Read,
    Rule,
    Site,
    Synapse,
    Token,
    Write,
)

Layers = dict[str, TraceMatrix]  # of a memory; "": the only layer


def associate(
    rule: Rule, tokens: Token, state: Any = None, *, chunk: int = 32
) -> tuple[Array, Any]:
    """Writes and reads a memory at T steps, of one head and one episode; `jax.vmap` adds both.

    All is computed in float32 at least: answers have the type of `value`, and the state keeps its
    own, which for an empty memory is the one that was computed in. Under
    `jax.default_matmul_precision("BF16_BF16_F32")`, accelerators round the operands of all products
    to bfloat16, those of the triangle included; sums and the state remain float32.

    Args:
      rule: with a `Site`.
      tokens: query, key [T, I], value [T, O]; rate and keep [T, ...] or one number for all steps;
        gates [T, ...]. Of a rule that writes N times per token: key [T, N, I], value [T, N, O],
        rate [T, N].
      state: `TraceMatrix` before the first step, or {layer: TraceMatrix} of a memory of several;
        None: an empty memory of one layer. A frozen rule begins a stretch with every call.
      chunk: steps that are computed at once, where the rule allows it; of a frozen rule it is its
        own number. Otherwise, steps after which training stores the state. 0: step by step, every
        state is stored.

    Returns:
      The answers [T, O], and the state after the last step, to go on from.

    Raises:
      ValueError: the rule has no meaning at a memory site, or sizes do not go together.
    """
    site, chunk = site_of(rule), check_chunk("associate", chunk, 0)
    tokens = check_tokens(site, rule.form, tokens)
    given = _empty(rule, tokens) if state is None else state
    layers = check_state(site, rule.form, tokens, given)
    answer_type = tokens.value.dtype
    dtype = jnp.result_type(jnp.float32, *(a.dtype for a in jax.tree.leaves((tokens, layers))))
    cast, start = jax.tree.map(lambda a: a.astype(dtype), (tokens, layers))
    cast, start = each_write(site, cast), _varying(start, cast)
    answers, after = _path(rule)(rule, cast, start, chunk * site.writes)
    answers = answers[site.writes - 1 :: site.writes]
    after = jax.tree.map(lambda a, old: a.astype(old.dtype), after, layers)
    return answers.astype(answer_type), after if isinstance(given, dict) else after[""]


def initial_state(rule: Rule, tokens: Token) -> TraceMatrix:
    """The empty memory for such tokens [T, ...].

    Raises:
      ValueError: the memory has several layers, which do not start empty.
    """
    return _empty(rule, check_tokens(site_of(rule), rule.form, tokens))


def _empty(rule: Rule, tokens: Token) -> TraceMatrix:
    site = site_of(rule)
    dtype = jnp.result_type(jnp.float32, *(a.dtype for a in jax.tree.leaves(tokens)))
    shapes = site.layers(prepared_shape(site, jax.tree.map(lambda a: a[0], tokens)))
    if set(shapes) != {""} or not site.empty:
        raise ValueError(
            f"this memory, of layers {shapes}, does not start empty: give the state before the "
            "first step, a TraceMatrix for each layer"
        )
    return dense(form=rule.form).init(shapes[""], dtype)


def _path(rule: Rule) -> Any:
    """The fastest way to take the steps of a rule."""
    site, form = site_of(rule), rule.form
    if site.frozen > 1:
        return _by_stretches if form.keep == "scalar" else _by_steps
    one_triangle = form.keep in ("scalar", "input") and not (
        form.to_weights or form.settle or form.bias
    )
    return _by_chunks if site.linear and one_triangle else _by_steps


def associate_step(
    rule: Rule, memory: Memory, fast: Any, token: Token, slot: Array | int
) -> tuple[Array, Any]:
    """One step, with any engine: the definition of rules that are neither frozen nor write twice.

    Args:
      rule, memory: made for the same form.
      fast: `FastState` before the step, or one for each layer of the memory.
      token: of the step, without the axis T.
      slot: number of the write in its chunk, see `plasticity.memory.advance`.

    Returns:
      The answer [O] and the state after the step.
    """
    site = site_of(rule)
    if site.frozen > 1 or site.writes > 1:
        raise ValueError(
            f"a rule with Site.frozen={site.frozen} and Site.writes={site.writes} takes no single "
            "steps: `associate` takes its tokens"
        )
    after = _advanced(memory, fast, site_write(rule, memory, fast, token), slot)
    read_from = after if site.order == "read_after_write" else fast
    return site_answer(rule, memory, read_from, token), after


def site_write(rule: Rule, memory: Memory, fast: Any, token: Token) -> Any:
    """The write of a token, or one for each layer. Arguments as for `associate_step`."""
    site = site_of(rule)
    return site.write(site.prepare(token), _reader(memory, fast))


def site_answer(rule: Rule, memory: Memory, fast: Any, token: Token) -> Array:
    """The answer [O] to a token's query; nothing is written. Arguments as for `associate_step`."""
    site = site_of(rule)
    return site.answer(site.prepare(token), _reader(memory, fast))


def site_of(rule: Rule) -> Site:
    """The rule at a memory site; ValueError: it has no meaning there."""
    if rule.site is None:
        raise ValueError("this rule has no meaning at a memory site: its Rule.site is None")
    return rule.site


def _reader(memory: Memory, fast: Any) -> Read:
    synapse = Synapse(beta=jnp.ones(())) if memory.form.bias else PLAIN

    def read(x: Array, layer: str = "", *, transposed: bool = False) -> Array:
        state = fast if isinstance(fast, FastState) else fast[layer]
        if transposed:
            return memory.weights(memory.close(state), synapse).weight.T @ x
        return memory.read(state, synapse, x)

    return read


def _advanced(memory: Memory, fast: Any, written: Any, slot: Array | int) -> Any:
    """The state after the writes of a step."""
    if isinstance(fast, FastState):
        return advance(memory, fast, written, slot)
    written = {"": written} if isinstance(written, Write) else written
    return {name: advance(memory, fast[name], write, slot) for name, write in written.items()}


def _by_chunks(rule: Rule, tokens: Token, start: Layers, chunk: int) -> tuple[Array, Layers]:
    """By one triangular solve per chunk."""
    if not chunk:
        return _by_steps(rule, tokens, start, chunk)
    site = site_of(rule)
    plan = functools.partial(plan_chunk, site, rule.form)
    run = functools.partial(run_chunk, site, rule.form)
    pieces, rest = pieces_of(tokens, chunk)
    last = None if rest is None else plan(rest)
    after, answers = run_pieces(run, start[""], jax.vmap(plan)(pieces), last)
    return answers, {"": after}


def _by_stretches(rule: Rule, tokens: Token, start: Layers, chunk: int) -> tuple[Array, Layers]:
    """By the writes of a whole stretch, all taken at its start."""
    if not chunk:
        return _by_steps(rule, tokens, start, chunk)
    site = site_of(rule)
    run = jax.checkpoint(functools.partial(run_frozen, site, rule.form))
    pieces, rest = pieces_of(tokens, site.frozen)
    after, answers = run_pieces(run, start, pieces, rest)
    return answers, after


def _by_steps(rule: Rule, tokens: Token, start: Layers, chunk: int) -> tuple[Array, Layers]:
    """One after the other: the definition of the above."""
    site, memory = site_of(rule), dense(form=rule.form)
    fast = {n: memory.open(trace, LayerShape(*trace.weight.shape), 1) for n, trace in start.items()}

    steps, frozen = len(tokens.key), site.frozen > 1
    count = jnp.arange(steps)
    first, last = count % site.frozen == 0, (count + 1) % site.frozen == 0
    last = last.at[-1].set(True)  # of a stretch that is shorter

    def body(carry: Any, scanned: tuple[Token, Array, Array]) -> tuple[Any, Array]:
        (fast, origin), (token, first, last) = carry, scanned
        token = site.prepare(token)
        origin = jax.tree.map(lambda a, b: jnp.where(first, a, b), fast, origin) if frozen else fast
        written = site.write(token, _reader(memory, origin))
        after = _advanced(memory, fast, written, 0)  # a matrix has no slots
        if site.reach is not None:
            reach = site.reach(token)
            seen = jax.tree.map(lambda a, b: b + reach * (a - b), after, origin)
            after = jax.tree.map(lambda a, b: jnp.where(last, b, a), after, seen)
        else:
            seen = after
        read_from = seen if site.order == "read_after_write" else fast
        kept = origin if frozen else None
        return (after, kept), site.answer(token, _reader(memory, read_from))

    scanned, start_of = (tokens, first, last), fast if frozen else None
    (fast, _), answers = checkpointed_scan(body, (fast, start_of), scanned, steps, chunk)
    return answers, {n: _closed(memory, start[n], state) for n, state in fast.items()}


def _closed(memory: Memory, before: TraceMatrix, fast: FastState) -> TraceMatrix:
    """The state after all steps. An engine always writes the bias, which a site may not have."""
    after = memory.close(fast)
    if memory.form.bias:
        return after
    if after.momentum is None or before.momentum is None:
        return before._replace(weight=after.weight)
    return TraceMatrix(after.weight, before.bias, (after.momentum[0], before.momentum[1]))


def _varying(state: Layers, tokens: Token) -> Layers:
    """The state, as one that depends on the tokens: `jax.shard_map` wants it so of a carry."""
    some = [(array[:1] > 0).any() for array in jax.tree.leaves(tokens)]
    depends = functools.reduce(jnp.logical_or, some)
    return jax.tree.map(lambda a: jnp.where(depends, a, a), state)
