"""Memory sites: a memory that is written and read by keys, values and queries of all steps.

Nothing at a memory site depends on the head of the network, so that its steps need not be taken one
by one. If the rule is linear in the state, chunks of them are taken at once, each by one triangular
solve (`plasticity.parallel`). Otherwise, and as the definition of the above, step by step.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from plasticity.memory.dense import TraceMatrix, dense
from plasticity.memory.history import advance
from plasticity.parallel import run_chunk
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

    Args:
      rule: with a `Site`.
      tokens: query, key [T, I], value [T, O]; rate and keep [T, ...] or one number for all steps.
      state: before the first step; None: an empty memory.
      chunk: steps that are computed at once, if the rule is linear in the state. 0: step by step.

    Returns:
      The answers [T, O], and the state after the last step, to go on from.

    Raises:
      ValueError: the rule has no meaning at a memory site, or sizes do not go together.
    """
    site = _site(rule)
    tokens = _check_tokens(rule.form, tokens)
    steps = len(tokens.key)
    start = initial_state(rule, tokens) if state is None else state
    if not chunk or not site.linear or rule.form.to_weights is not None:
        return _by_steps(rule, tokens, start)
    chunk = min(chunk, steps)
    whole = steps // chunk * chunk
    run = functools.partial(run_chunk, site, rule.form)
    cut = jax.tree.map(lambda a: a[:whole].reshape(-1, chunk, *a.shape[1:]), tokens)
    after, answers = lax.scan(run, start, cut)
    answers = answers.reshape(whole, -1)
    if whole < steps:
        after, rest = run(after, jax.tree.map(lambda a: a[whole:], tokens))
        answers = jnp.concatenate([answers, rest])
    return answers, after


def initial_state(rule: Rule, tokens: Token) -> TraceMatrix:
    """The empty memory for such tokens [T, ...]."""
    first = jax.eval_shape(lambda t: _site(rule).prepare(jax.tree.map(lambda a: a[0], t)), tokens)
    shape = LayerShape(len(first.value), len(first.key))
    return dense(form=rule.form).init(shape, tokens.value.dtype)


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


def _by_steps(rule: Rule, tokens: Token, state: TraceMatrix) -> tuple[Array, TraceMatrix]:
    memory = dense(form=rule.form)

    def body(fast: FastState, token: Token) -> tuple[FastState, Array]:
        answer, after = associate_step(rule, memory, fast, token, 0)  # a matrix has no slots
        return after, answer

    fast, answers = lax.scan(body, memory.open(state, LayerShape(*state.weight.shape), 1), tokens)
    return answers, memory.close(fast)


def _site(rule: Rule) -> Site:
    if rule.site is None:
        raise ValueError("this rule has no meaning at a memory site: its Rule.site is None")
    return rule.site


def _check_tokens(form: Form, tokens: Token) -> Token:
    """The tokens with rate and keep [T, ...].

    Raises:
      ValueError: an array has the wrong rank or size; the message names it.
    """
    key, value = jnp.shape(tokens.key), jnp.shape(tokens.value)
    one_head = "of one head and one episode; jax.vmap adds both"
    if len(key) != 2 or len(value) != 2 or not key[0]:
        raise ValueError(f"key {key} and value {value} should be [T, I] and [T, O], {one_head}")
    steps = key[0]
    keep = {"scalar": (), "output": (value[1],), "input": (key[1],)}[form.keep]
    rate = keep if form.keep == "output" else ()
    right = {"query": key, "value": (steps, value[1]), "rate": (steps, *rate)}
    for name, shape in (right | {"keep": (steps, *keep)}).items():
        found, one = jnp.shape(getattr(tokens, name)), name in ("rate", "keep")
        if found not in (shape, *([(), (steps,)] if one else [])):
            raise ValueError(f"{name} has shape {found}, it should be {shape}, {one_head}")
    dtype = tokens.value.dtype

    def each_step(factor: Scalar) -> Array:
        each = jnp.asarray(factor, dtype)
        return each if each.ndim else jnp.broadcast_to(each, (steps,))

    gates = dict(tokens.gates)
    return tokens._replace(rate=each_step(tokens.rate), keep=each_step(tokens.keep), gates=gates)
