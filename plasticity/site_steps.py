"""Steps at a memory site one after the other: the definition of `plasticity.associate`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.marks import Marks
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.memory.history import advance
from plasticity.registry import lookup, shown
from plasticity.site import ASKS, KEEPS, ORDERS
from plasticity.steps import checkpointed_scan
from plasticity.synapse import PLAIN
from plasticity.tokens import check_taken, prepared_shape
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
Steps = tuple[Token, Marks]


def associate_step(
    rule: Rule, memory: Memory, fast: Any, token: Token, slot: Array | int
) -> tuple[Array, Any]:
    """One step, with any engine, for rules that take single steps (see `check_single`).

    Args:
      rule: with a `Site`.
      memory: an engine for the rule's form.
      fast: `FastState` before the step, or one for each layer of the memory.
      token: of the step, without the axis T.
      slot: number of the write in its chunk, see `plasticity.memory.advance`.

    Returns:
      The answer [O] and the state after the step.

    Raises:
      ValueError: the rule has no meaning at a memory site, is frozen, writes several times or has a
        `Site.reach`; the memory was not opened, or is made for another form or other layers; a
        gate of the token is missing, or the rule does not read it.

    >>> import jax.numpy as jnp
    >>> import plasticity as P
    >>> rule, memory, shape = P.delta(), P.dense(), P.LayerShape(2, 3)
    >>> state = memory.open(memory.init(shape, jnp.float32), shape, 1)
    >>> key = jnp.array([1.0, 0.0, 0.0])
    >>> answer, state = P.associate_step(rule, memory, state, P.Token(key, key, jnp.ones(2)), 0)
    >>> answer.tolist()
    [1.0, 1.0]
    """
    site = check_single(site_of(rule))
    _check_step(rule, site, memory, fast, token)
    return site_step(rule, memory, fast, token, slot)


def site_step(
    rule: Rule, memory: Memory, fast: Any, token: Token, slot: Array | int
) -> tuple[Array, Any]:
    """As `associate_step`, of arguments that are known to fit."""
    site = site_of(rule)
    after = _advanced(memory, fast, site_write(rule, memory, fast, token), slot)
    read_from = after if site.order == "read_after_write" else fast
    return site_answer(rule, memory, read_from, token), after


def check_made_for(rule: Rule, memory: Memory) -> None:
    """Raises ValueError unless the engine is made for the form of the rule's writes."""
    if memory.form != rule.form:
        raise ValueError(
            f"the memory is made for {memory.form}, but the rule writes {rule.form}: make the "
            "engine with form=rule.form"
        )


def _check_step(rule: Rule, site: Site, memory: Memory, fast: Any, token: Token) -> None:
    """Raises the errors of `associate_step`."""
    layers = fast if isinstance(fast, dict) else {"": fast}
    if not all(isinstance(state, FastState) for state in layers.values()):
        raise ValueError(
            f"fast is a {type(fast).__name__}, it should be a FastState, or one for each layer: "
            "memory.open(memory.init(shape, dtype), shape, slots) makes one"
        )
    check_made_for(rule, memory)
    check_taken(site, token)
    should_have = site.layers(prepared_shape(site, token)).keys()
    if layers.keys() != should_have:
        raise ValueError(f"fast has layers {list(layers)}, it should have {list(should_have)}")


def site_write(rule: Rule, memory: Memory, fast: Any, token: Token) -> Any:
    """The write of a token, or one for each layer. Arguments, errors as of `associate_step`."""
    site = site_of(rule)
    return _written(site, memory, fast, fast, site.prepare(token.filled()))


def _written(site: Site, memory: Memory, origin: Any, fast: Any, token: Token) -> Any:
    """What a prepared token writes to the state `fast`, in a stretch that began at `origin`."""
    if site.tokens is None:
        return site.write(token, _reader(memory, origin))
    made = site.tokens(token, _reader(memory, origin))
    return {layer: site.write(own, _reader(memory, fast[layer])) for layer, own in made.items()}


def site_answer(rule: Rule, memory: Memory, fast: Any, token: Token) -> Array:
    """The answer [O] to a token's query; nothing is written. See `associate_step`."""
    site = site_of(rule)
    return site.answer(site.prepare(token.filled()), _reader(memory, fast))


def check_single(site: Site) -> Site:
    """The site, of a rule that can take its tokens one by one.

    Raises:
      ValueError: it cannot: it is frozen, writes several times per token, or has a `Site.reach`.
    """
    if site.frozen > 1 or site.writes > 1 or site.reach is not None:
        reach = "" if site.reach is None else " and a Site.reach"
        raise ValueError(
            f"a rule with Site.frozen={site.frozen} and Site.writes={site.writes}{reach} takes no "
            "single steps: `associate` takes its tokens"
        )
    return site


def check_rule(rule: Any) -> Rule:
    """The rule.

    Raises:
      ValueError: it is none, such as its name, or a function that makes it.
    """
    if isinstance(rule, Rule):
        return rule
    raise ValueError(f"rule={shown(rule)} should be a Rule, as plasticity.delta() makes one")


def site_of(rule: Rule) -> Site:
    """The rule at a memory site.

    Raises:
      ValueError: it has no meaning there, or a name in it is unknown.
    """
    site = check_rule(rule).site
    if site is None:
        raise ValueError("this rule has no meaning at a memory site: its Rule.site is None")
    lookup(dict.fromkeys(ORDERS), site.order, "Site.order")
    lookup(dict.fromkeys(ASKS), site.asks, "Site.asks")
    lookup(dict.fromkeys(KEEPS), rule.form.keep, "Form.keep")
    return site


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


def by_steps(
    rule: Rule, steps: Steps, start: Layers, initial: Layers | None, chunk: int
) -> tuple[Array, Layers]:
    """All steps, one after the other: the definition of the faster ways of `associate`."""
    site, memory, (tokens, marks) = site_of(rule), dense(form=rule.form), steps
    fast, anew = (_opened(memory, layers) for layers in (start, initial))
    frozen = site.frozen > 1

    def body(carry: Any, scanned: tuple[Token, Marks, Ends]) -> tuple[Any, Array]:
        (fast, origin), (token, mark, ends) = carry, scanned
        token = site.prepare(token)
        fast = _where(mark.reset, anew, fast)
        origin = _where(ends.first, fast, _where(mark.reset, anew, origin)) if frozen else fast
        written = _written(site, memory, origin, fast, token)
        after = seen = _advanced(memory, fast, written, 0)  # a matrix has no slots
        if site.reach is not None:
            reach = site.reach(token)
            seen = jax.tree.map(lambda a, b: b + reach * (a - b), after, origin)
            after = _where(ends.last, seen, after)
        asked = {"read_after_write": seen, "read_before_write": fast, "read_before_stretch": origin}
        answer = site.answer(token, _reader(memory, asked[site.order]))
        after = after if mark.valid is None else _where(mark.valid, after, fast)
        return (after, origin if frozen else None), answer

    count = len(tokens.key)
    ends = _ends(site.frozen, marks.valid, count)
    carry = (fast, fast if frozen else None)
    (fast, _), answers = checkpointed_scan(body, carry, (tokens, marks, ends), count, chunk)
    return answers, {n: _closed(memory, start[n], state) for n, state in fast.items()}


class Ends(NamedTuple):
    """Whether a step is the first, or the last valid one, of a stretch of a frozen rule."""

    first: Array  # [T] bool
    last: Array  # [T] bool, of the steps that are valid


def _ends(size: int, valid: Array | None, steps: int) -> Ends:
    count = jnp.arange(steps)
    counts = jnp.ones(steps, bool) if valid is None else valid
    # The number of the next step that is valid, T if there is none.
    ahead = jax.lax.cummin(jnp.where(counts, count, steps), reverse=True)
    following = jnp.append(ahead[1:], steps)
    last = (following // size > count // size) | (following == steps)
    return Ends(count % size == 0, last & counts)


def _opened(memory: Memory, layers: Layers | None) -> Any:
    """The states of the layers before a chunk of one write."""
    if layers is None:
        return None
    return {n: memory.open(t, LayerShape(*t.weight.shape), 1) for n, t in layers.items()}


def _where(condition: Array | None, chosen: Any, other: Any) -> Any:
    """`chosen` where the condition holds, else `other`; without either of the two, `other`."""
    if condition is None or chosen is None:
        return other
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), chosen, other)


def _closed(memory: Memory, before: TraceMatrix, fast: FastState) -> TraceMatrix:
    """The state after all steps. An engine always writes the bias, which a site may not have."""
    after = memory.close(fast)
    if memory.form.bias:
        return after
    if after.momentum is None or before.momentum is None:
        return before._replace(weight=after.weight)
    return TraceMatrix(after.weight, before.bias, (after.momentum[0], before.momentum[1]))
