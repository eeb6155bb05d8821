"""Checks of what a memory site is given: tokens and the state before them."""

from typing import Any

import jax
import jax.numpy as jnp

from plasticity.marks import Marks
from plasticity.memory.contract import check_dtype
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.registry import meant
from plasticity.types import KEEP, RATE, Array, Form, LayerShape, Scalar, Site, Token

ONE_HEAD = "of one head and one episode; jax.vmap adds both"


def gate_shapes(site: Site, token: Token) -> dict[str, tuple[int, ...]]:
    """{name: shape} of the gates that a rule reads of such tokens, without the axis T."""
    sizes = {"token": (), "input": jnp.shape(token.key)[-1:], "output": jnp.shape(token.value)[-1:]}
    return {g.name: sizes[g.per] for g in site.takes or () if g not in (RATE, KEEP)}


def prepared_shape(site: Site, token: Token) -> LayerShape:
    """The shape of the memory for such tokens, without the axis T; gates may be left out."""

    def prepare(token: Token) -> Token:
        blank = {name: jnp.zeros(shape) for name, shape in gate_shapes(site, token).items()}
        token = token._replace(gates=blank | dict(token.gates)).filled()
        if site.writes > 1:
            token = token._replace(key=token.key[0], value=token.value[0], rate=token.rate[0])
        return site.prepare(token)

    prepared = jax.eval_shape(prepare, token)
    return LayerShape(len(prepared.value), len(prepared.key))


def each_write(site: Site, tokens: Token, marks: Marks) -> tuple[Token, Marks]:
    """Each write of a token as a token of its own [T N, ...]; only the first of the N forgets."""
    n = site.writes
    if n == 1:
        return tokens, marks
    steps = len(tokens.key)
    first = jnp.arange(steps * n) % n == 0
    again, marks = jax.tree.map(lambda a: jnp.repeat(a, n, axis=0), (tokens, marks))
    keep = jnp.where(first.reshape(-1, *(1,) * (again.keep.ndim - 1)), again.keep, 1)
    flat = {
        name: getattr(tokens, name).reshape(steps * n, *getattr(tokens, name).shape[2:])
        for name in ("key", "value", "rate")
    }
    if marks.reset is not None:
        marks = marks._replace(reset=marks.reset & first)
    return again._replace(keep=keep, **flat), marks


def check_marks(marks: Marks, steps: int) -> Marks:
    """The marks as arrays.

    Raises:
      ValueError: one is not [T] bool.
    """
    for name, mark in marks._asdict().items():
        if mark is None:
            continue
        if jnp.shape(mark) != (steps,) or jnp.result_type(mark) != jnp.bool_:
            raise ValueError(
                f"{name} has shape {jnp.shape(mark)} and dtype {jnp.result_type(mark)}, it should "
                f"be {(steps,)} and bool, {ONE_HEAD}"
            )
    return jax.tree.map(jnp.asarray, marks)


def check_tokens(site: Site, form: Form, tokens: Token) -> Token:
    """The tokens as arrays, with rate and keep [T, ...].

    Raises:
      ValueError: an array has the wrong rank, size or type; the message names it.
    """
    check_taken(site, tokens)
    tokens = tokens.filled()
    several = () if site.writes == 1 else (site.writes,)
    key, value = jnp.shape(tokens.key), jnp.shape(tokens.value)
    rank = 2 + len(several)
    if len(key) != rank or len(value) != rank or not key[0] or key[1:-1] != several:
        sizes = "".join(f"{n}, " for n in ("T", *several))
        raise ValueError(
            f"key {key} and value {value} should be [{sizes}I] and [{sizes}O], {ONE_HEAD}"
        )
    steps = key[0]
    numbers = {
        "rate": _each(tokens.rate, tokens.value, (steps, *several)),
        "keep": _each(tokens.keep, tokens.value, (steps,)),
    }
    for name, gate in tokens.gates.items():
        if jnp.shape(gate)[:1] != (steps,):
            should_be = (steps, *jnp.shape(gate)[1:])
            raise ValueError(
                f"gates[{name!r}] has shape {jnp.shape(gate)}, it should be {should_be}, {ONE_HEAD}"
            )
    tokens = tokens._replace(gates=dict(tokens.gates), **numbers)
    first = jax.eval_shape(lambda t: jax.tree.map(lambda a: a[0], t), tokens)
    outputs, inputs = prepared_shape(site, first)
    per = {"scalar": (), "output": (outputs,), "input": (inputs,), "synapse": (outputs, inputs)}
    per_rate = per["output"] if form.keep in ("output", "synapse") else ()
    right: dict[str, list[tuple[int, ...]]] = {
        "query": [(steps, key[-1])],
        "key": [key],
        "value": [(steps, *value[1:])],
        "rate": [(steps, *several, *per_rate), (steps, *several)],
        "keep": [(steps, *per[form.keep]), (steps,)],
    }
    for name, shape in gate_shapes(site, tokens).items():
        right[f"gates[{name!r}]"] = [(steps, *shape)]
    gates = {f"gates[{name!r}]": gate for name, gate in tokens.gates.items()}
    for name, array in (tokens._asdict() | gates).items():
        if name == "gates":
            continue
        found = jnp.shape(array)
        allowed = right.get(name, [(steps, *found[1:])])
        if found not in allowed:
            raise ValueError(f"{name} has shape {found}, it should be {allowed[0]}, {ONE_HEAD}")
        if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
            raise ValueError(f"{name} has dtype {jnp.result_type(array)}, it should be floating")
    return jax.tree.map(jnp.asarray, tokens)


def check_taken(site: Site, tokens: Token) -> None:
    """Raises ValueError if a gate is missing, or if the rule does not read what is given."""
    if site.takes is None:
        return
    takes = [gate.name for gate in site.takes]
    reads = f"this rule reads {', '.join(('query', 'key', 'value', *takes))}"
    numbers = {"rate": tokens.rate, "keep": tokens.keep}
    given = [n for n, a in numbers.items() if a is not None and not _is_one(a)]
    left_out = [n for n in (*given, *tokens.gates) if n not in takes]
    if left_out:
        hint = meant(left_out[0], takes)
        raise ValueError(f"{left_out[0]} is given, and {reads} only{hint and f': {hint}'}")
    missing = [n for n in takes if n not in ("rate", "keep", *tokens.gates)]
    if missing:
        raise ValueError(f"gates lack {missing[0]!r}: {reads}")


def _is_one(number: Scalar) -> bool:
    return isinstance(number, (int, float)) and number == 1


def _each(factor: Scalar, like: Array, shape: tuple[int, ...]) -> Array:
    """One number for all steps as an array of one per step; arrays as they are."""
    if jnp.ndim(factor):
        return jnp.asarray(factor)
    # A Python number has no type of its own.
    return jnp.broadcast_to(jnp.asarray(factor, jnp.result_type(factor, like, jnp.float32)), shape)


def check_state(
    site: Site, form: Form, tokens: Token, state: Any, what: str
) -> dict[str, TraceMatrix]:
    """The state of each layer; `what` it is called in messages.

    Raises:
      ValueError: it has other shapes than such tokens need, or no floating type.
    """
    layers = state if isinstance(state, dict) else {"": state}
    for layer in layers.values():
        if not isinstance(layer, TraceMatrix):
            raise ValueError(
                f"{what} is a {type(layer).__name__}, it should be a TraceMatrix as `associate` "
                "returns it, or one for each layer, or None"
            )
    first = jax.eval_shape(lambda t: jax.tree.map(lambda a: a[0], t), tokens)
    shapes = site.layers(prepared_shape(site, first))
    if layers.keys() != shapes.keys():
        raise ValueError(f"{what} has layers {list(layers)}, it should have {list(shapes)}")
    for layer, shape in shapes.items():
        empty = jax.eval_shape(lambda s=shape: dense(form=form).init(s, jnp.float32))
        found, right = _shapes(what, layer, layers[layer]), _shapes(what, layer, empty)
        for name in sorted(found.keys() | right.keys()):
            is_now, should_be = found.get(name, "none"), right.get(name, "none, for this rule")
            if is_now != should_be:
                raise ValueError(f"{name} has shape {is_now}, it should be {should_be}")
    layers = jax.tree.map(jnp.asarray, layers)
    for array in jax.tree.leaves(layers):
        check_dtype(array.dtype)
    return layers


def _shapes(what: str, layer: str, trace: TraceMatrix) -> dict[str, object]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(trace)
    where = f"{what}[{layer!r}]" if layer else what
    return {f"{where}{jax.tree_util.keystr(path)}": jnp.shape(a) for path, a in leaves}
