"""Memory sites: a memory that is written and read by keys, values and queries of all steps.

Nothing at a memory site depends on the head of the network, so that its steps need not be taken one
by one. If the rule is linear in the state, chunks of them are taken at once, each by one triangular
solve (`plasticity.parallel`). Otherwise, and as the definition of the above, step by step.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from plasticity.memory.contract import check_chunk, check_dtype
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.memory.history import advance
from plasticity.parallel import plan_chunk, run_chunk
from plasticity.types import (
    Array,
    FastState,
    Form,
    LayerShape,
    Memory,
    Rule,
    Scalar,
    Site,
    Synapse,
    Token,
)

PLAIN = Synapse(alpha=None, alpha_out=None, alpha_in=None, beta=None)  # w = h


def associate(
    rule: Rule, tokens: Token, state: TraceMatrix | None = None, *, chunk: int = 32
) -> tuple[Array, TraceMatrix]:
    """Writes and reads a memory at T steps, of one head and one episode; `jax.vmap` adds both.

    All is computed in float32 at least: answers have the type of `value`, and the state keeps its
    own, which for an empty memory is the one that was computed in.

    Args:
      rule: with a `Site`.
      tokens: query, key [T, I], value [T, O]; rate and keep [T, ...] or one number for all steps;
        gates [T, ...].
      state: before the first step; None: an empty memory.
      chunk: steps that are computed at once, if the rule is linear in the state and its keeps are
        not per output. 0: step by step.

    Returns:
      The answers [T, O], and the state after the last step, to go on from.

    Raises:
      ValueError: the rule has no meaning at a memory site, or sizes do not go together.
    """
    site, chunk = _site(rule), check_chunk("associate", chunk, 0)
    tokens = _check_tokens(rule.form, tokens)
    empty = initial_state(rule, tokens)
    given = empty if state is None else _check_state(state, empty)
    answer_type = tokens.value.dtype
    dtype = jnp.result_type(jnp.float32, *(a.dtype for a in jax.tree.leaves((tokens, given))))
    tokens, start = jax.tree.map(lambda a: a.astype(dtype), (tokens, given))
    start = _varying(start, tokens)
    if chunk and site.linear and rule.form.keep != "output" and rule.form.to_weights is None:
        answers, after = _by_chunks(rule, site, tokens, start, chunk)
    else:
        answers, after = _by_steps(rule, tokens, start)
    after = jax.tree.map(lambda a, old: a.astype(old.dtype), after, given)
    return answers.astype(answer_type), after


def initial_state(rule: Rule, tokens: Token) -> TraceMatrix:
    """The empty memory for such tokens [T, ...]."""
    site, tokens = _site(rule), _check_tokens(rule.form, tokens)
    first = jax.eval_shape(lambda t: site.prepare(jax.tree.map(lambda a: a[0], t)), tokens)
    shape = LayerShape(len(first.value), len(first.key))
    dtype = jnp.result_type(jnp.float32, *(a.dtype for a in jax.tree.leaves(tokens)))
    return dense(form=rule.form).init(shape, dtype)


def associate_step(
    rule: Rule, memory: Memory, fast: FastState, token: Token, slot: Array | int
) -> tuple[Array, FastState]:
    """One step, with any engine: the definition.

    Args:
      rule, memory: made for the same form. fast: the state before the step.
      token: of the step, without the axis T.
      slot: number of the write in its chunk, see `plasticity.memory.advance`.

    Returns:
      The answer [O] and the state after the step.
    """
    site = _site(rule)
    token = site.prepare(token)
    write = site.write(token, lambda x: memory.read(fast, PLAIN, x))
    after = advance(memory, fast, write, slot)
    read_from = after if site.order == "read_after_write" else fast
    return site.answer(memory.read(read_from, PLAIN, token.query), token), after


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


def _by_steps(rule: Rule, tokens: Token, start: TraceMatrix) -> tuple[Array, TraceMatrix]:
    memory = dense(form=rule.form)

    def body(fast: FastState, token: Token) -> tuple[FastState, Array]:
        answer, after = associate_step(rule, memory, fast, token, 0)  # a matrix has no slots
        return after, answer

    fast, answers = lax.scan(body, memory.open(start, LayerShape(*start.weight.shape), 1), tokens)
    after = memory.close(fast)
    if after.momentum is None or start.momentum is None:
        return answers, start._replace(weight=after.weight)  # no site has a plastic bias
    return answers, TraceMatrix(after.weight, start.bias, (after.momentum[0], start.momentum[1]))


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
