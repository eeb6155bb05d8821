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

from plasticity.memory.dense import TraceMatrix, dense
from plasticity.memory.history import advance
from plasticity.parallel import run_chunk
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

    Args:
      rule: with a `Site`.
      tokens: query, key [T, I], value [T, O]; rate and keep [T, ...] or one number for all steps.
      state: `TraceMatrix` before the first step, or one for each layer of the memory; None: an
        empty memory of one layer.
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
    shape = site_shape(rule, jax.tree.map(lambda a: a[0], tokens))
    return dense(form=rule.form).init(shape, tokens.value.dtype)


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


def credit(loss: Callable[[Read], Array], read: Read) -> dict[str, tuple[Array, Array]]:
    """What a rule writes to each layer of a small network, to descend its loss.

    Args:
      loss: (read) -> [], which calls read(x, layer) once for each layer.
      read: that of `Site.write`.

    Returns:
      {layer: (credit [O], its input [I])}; the gradient of its weights is their outer product.
    """
    sizes: dict[str, Array] = {}

    def measured(x: Array, layer: str) -> Array:
        sizes[layer] = jnp.zeros_like(read(x, layer))
        return sizes[layer]

    def probed(probe: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        inputs: dict[str, Array] = {}

        def recorded(x: Array, layer: str) -> Array:
            inputs[layer] = x
            return read(x, layer) + probe[layer]

        return loss(recorded), inputs

    loss(measured)
    credits, inputs = jax.grad(probed, has_aux=True)(sizes)
    return {layer: (credits[layer], x) for layer, x in inputs.items()}


def _by_steps(rule: Rule, tokens: Token, state: Any) -> tuple[Array, Any]:
    memory = dense(form=rule.form)

    def each(f: Callable[[Any], Any], parts: Any, kind: type) -> Any:
        return jax.tree.map(f, parts, is_leaf=lambda part: isinstance(part, kind))

    def opened(trace: TraceMatrix) -> FastState:
        return memory.open(trace, LayerShape(*trace.weight.shape), 1)

    def body(fast: Any, token: Token) -> tuple[Any, Array]:
        answer, after = associate_step(rule, memory, fast, token, 0)  # a matrix has no slots
        return after, answer

    fast, answers = lax.scan(body, each(opened, state, TraceMatrix), tokens)
    return answers, each(memory.close, fast, FastState)


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
