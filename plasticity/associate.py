"""Memory sites: a memory that is written and read by keys, values and queries of all steps.

Nothing at a memory site depends on the head of the network, so that its steps need not be taken one
by one. If the rule is linear in the state, chunks of them are taken at once, each by one triangular
solve (`plasticity.parallel`). Otherwise, and as the definition of the above, step by step.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from plasticity.memory.contract import check_chunk, check_dtype
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.memory.history import advance
from plasticity.parallel import plan_chunk, run_chunk
from plasticity.steps import checkpointed_scan
from plasticity.synapse import PLAIN
from plasticity.types import (
    Array,
    FastState,
    Form,
    LayerShape,
    Memory,
    Read,
    Rule,
    Scalar,
    Site,
    Token,
    Write,
)


def associate(
    rule: Rule, tokens: Token, state: Any = None, *, chunk: int = 32
) -> tuple[Array, Any]:
    """Writes and reads a memory at T steps, of one head and one episode; `jax.vmap` adds both.

    All is computed in float32 at least: answers have the type of `value`, and the state keeps its
    own, which for an empty memory is the one that was computed in.

    Args:
      rule: with a `Site`.
      tokens: query, key [T, I], value [T, O]; rate and keep [T, ...] or one number for all steps;
        gates [T, ...].
      state: `TraceMatrix` before the first step, or one for each layer of the memory; None: an
        empty memory of one layer.
      chunk: steps that are computed at once, if the rule is linear in the state and its keeps are
        not per output; otherwise, steps after which training stores the state. 0: step by step,
        every state is stored.

    Returns:
      The answers [T, O], and the state after the last step, to go on from.

    Raises:
      ValueError: the rule has no meaning at a memory site, or sizes do not go together.
    """
    site, chunk = _site(rule), check_chunk("associate", chunk, 0)
    tokens = _check_tokens(rule.form, tokens)
    given = initial_state(rule, tokens) if state is None else state
    if isinstance(given, TraceMatrix):
        given = _check_state(given, initial_state(rule, tokens))
    answer_type = tokens.value.dtype
    dtype = jnp.result_type(jnp.float32, *(a.dtype for a in jax.tree.leaves((tokens, given))))
    tokens, start = jax.tree.map(lambda a: a.astype(dtype), (tokens, given))
    start = _varying(start, tokens)
    if chunk and site.linear and rule.form.keep != "output" and rule.form.to_weights is None:
        answers, after = _by_chunks(rule, site, tokens, start, chunk)
    else:
        answers, after = _by_steps(rule, tokens, start, chunk)
    after = jax.tree.map(lambda a, old: a.astype(old.dtype), after, given)
    return answers.astype(answer_type), after


def initial_state(rule: Rule, tokens: Token) -> TraceMatrix:
    """The empty memory for such tokens [T, ...]."""
    tokens = _check_tokens(rule.form, tokens)
    dtype = jnp.result_type(jnp.float32, *(a.dtype for a in jax.tree.leaves(tokens)))
    return dense(form=rule.form).init(site_shape(rule, jax.tree.map(lambda a: a[0], tokens)), dtype)


def site_shape(rule: Rule, token: Token) -> LayerShape:
    """The shape of the memory for such tokens, without the axis T."""
    prepared = jax.eval_shape(_site(rule).prepare, token)
    return LayerShape(len(prepared.value), len(prepared.key))


def associate_step(
    rule: Rule, memory: Memory, fast: Any, token: Token, slot: Array | int
) -> tuple[Array, Any]:
    """One step, with any engine: the definition.

    Args:
      rule, memory: made for the same form.
      fast: `FastState` before the step, or one for each layer of the memory.
      token: of the step, without the axis T.
      slot: number of the write in its chunk, see `plasticity.memory.advance`.

    Returns:
      The answer [O] and the state after the step.
    """
    written = site_write(rule, memory, fast, token)
    if isinstance(written, Write):
        after: Any = advance(memory, fast, written, slot)
    else:
        after = {n: advance(memory, fast[n], write, slot) for n, write in written.items()}
    read_from = after if _site(rule).order == "read_after_write" else fast
    return site_answer(rule, memory, read_from, token), after


def site_write(rule: Rule, memory: Memory, fast: Any, token: Token) -> Any:
    """The write of a token, or one for each layer. Arguments as for `associate_step`."""
    site = _site(rule)
    return site.write(site.prepare(token), _reader(memory, fast))


def site_answer(rule: Rule, memory: Memory, fast: Any, token: Token) -> Array:
    """The answer [O] to a token's query; nothing is written. Arguments as for `associate_step`."""
    site = _site(rule)
    return site.answer(site.prepare(token), _reader(memory, fast))


def _reader(memory: Memory, fast: Any) -> Read:
    def read(x: Array, layer: str | None = None) -> Array:
        return memory.read(fast if layer is None else fast[layer], PLAIN, x)

    return read


def _by_chunks(
    rule: Rule, site: Site, tokens: Token, start: TraceMatrix, chunk: int
) -> tuple[Array, TraceMatrix]:
    steps = len(tokens.key)
    chunk = min(chunk, steps)
    whole = steps // chunk * chunk
    plan = functools.partial(plan_chunk, site, rule.form)
    run = functools.partial(run_chunk, site)
    cut = jax.tree.map(lambda a: a[:whole].reshape(whole // chunk, chunk, *a.shape[1:]), tokens)
    after, answers = lax.scan(run, start, jax.vmap(plan)(cut))
    answers = answers.reshape(whole, *answers.shape[2:])
    if whole < steps:
        after, rest = run(after, plan(jax.tree.map(lambda a: a[whole:], tokens)))
        answers = jnp.concatenate([answers, rest])
    return answers, after


def _by_steps(rule: Rule, tokens: Token, start: Any, chunk: int) -> tuple[Array, Any]:
    memory = dense(form=rule.form)

    def each(f: Callable[..., Any], traces: Any, *others: Any) -> Any:
        leaf = lambda part: isinstance(part, TraceMatrix)  # noqa: E731
        return jax.tree.map(f, traces, *others, is_leaf=leaf)

    def opened(trace: TraceMatrix) -> FastState:
        return memory.open(trace, LayerShape(*trace.weight.shape), 1)

    def closed(before: TraceMatrix, fast: FastState) -> TraceMatrix:
        after = memory.close(fast)
        if before.momentum is None or after.momentum is None:
            return before._replace(weight=after.weight)  # no site has a plastic bias
        return TraceMatrix(after.weight, before.bias, (after.momentum[0], before.momentum[1]))

    def body(fast: Any, token: Token) -> tuple[Any, Array]:
        answer, after = associate_step(rule, memory, fast, token, 0)  # a matrix has no slots
        return after, answer

    steps = len(tokens.key)
    fast, answers = checkpointed_scan(body, each(opened, start), tokens, steps, chunk)
    return answers, each(closed, start, fast)


def _varying(state: TraceMatrix, tokens: Token) -> TraceMatrix:
    """The state, as one that depends on the tokens: `jax.shard_map` wants it so of a carry."""
    some = [(array[:1] > 0).any() for array in jax.tree.leaves(tokens)]
    depends = functools.reduce(jnp.logical_or, some)
    return jax.tree.map(lambda a: jnp.where(depends, a, a), state)


def _site(rule: Rule) -> Site:
    if rule.site is None:
        raise ValueError("this rule has no meaning at a memory site: its Rule.site is None")
    return rule.site


def _check_tokens(form: Form, tokens: Token) -> Token:
    """The tokens as arrays, with rate and keep [T, ...].

    Raises:
      ValueError: an array has the wrong rank, size or type; the message names it.
    """
    key, value = jnp.shape(tokens.key), jnp.shape(tokens.value)
    one_head = "of one head and one episode; jax.vmap adds both"
    if len(key) != 2 or len(value) != 2 or not key[0]:
        raise ValueError(f"key {key} and value {value} should be [T, I] and [T, O], {one_head}")
    steps = key[0]
    keep = {"scalar": (), "output": value[1:], "input": key[1:]}[form.keep]
    rate = keep if form.keep == "output" else ()
    right: dict[str, list[tuple[int, ...]]] = {"query": [key], "value": [(steps, *value[1:])]}
    right |= {n: [(steps, *size), (steps,), ()] for n, size in (("rate", rate), ("keep", keep))}
    gates = {f"gates[{name!r}]": gate for name, gate in tokens.gates.items()}
    for name, array in (tokens._asdict() | gates).items():
        if name == "gates":
            continue
        found = jnp.shape(array)
        allowed = right.get(name, [(steps, *found[1:])])
        if found not in allowed:
            raise ValueError(f"{name} has shape {found}, it should be {allowed[0]}, {one_head}")
        if found and not jnp.issubdtype(jnp.result_type(array), jnp.floating):
            raise ValueError(f"{name} has dtype {jnp.result_type(array)}, it should be floating")

    def each_step(factor: Scalar) -> Array:
        # A Python number has no type of its own.
        each = jnp.asarray(factor, jnp.result_type(factor, tokens.value, jnp.float32))
        return each if each.ndim else jnp.broadcast_to(each, (steps,))

    numbers = {"rate": each_step(tokens.rate), "keep": each_step(tokens.keep)}
    return jax.tree.map(jnp.asarray, tokens._replace(gates=dict(tokens.gates), **numbers))


def _check_state(state: TraceMatrix, empty: TraceMatrix) -> TraceMatrix:
    """The state.

    Raises:
      ValueError: it has other shapes than the empty one, or no floating type.
    """

    def shapes(trace: TraceMatrix) -> dict[str, object]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(trace)
        return {f"state{jax.tree_util.keystr(path)}": jnp.shape(a) for path, a in leaves}

    found, right = shapes(state), shapes(empty)
    for name in sorted(found.keys() | right.keys()):
        is_now, should_be = found.get(name, "none"), right.get(name, "none, for this rule")
        if is_now != should_be:
            raise ValueError(f"{name} has shape {is_now}, it should be {should_be}")
    state = jax.tree.map(jnp.asarray, state)
    for array in jax.tree.leaves(state):
        check_dtype(array.dtype)
    return state
