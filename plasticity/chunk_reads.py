"""What a chunk of steps at a memory site has written, and reads of it after any of its steps.

The trace after step t is a mix of the parts of the state before the chunk (the trace, and with
momentum the sum s), of those of a memory that starts anew within it, and of the chunk's own writes,

  W_t = sum_p start_tp part_p + sum_s mix_ts left_s right_s^T

so that W_t x needs no matrix W_t. The matrix is formed only if the form of the rule maps the whole
trace (`Form.to_weights`, `Form.settle`). A plastic bias is one more column of W, whose input is 1.

In this module a memory is a dict {layer: ...}. If it has a single layer, that is called "".

Axis letters: t and s steps of the chunk (C), n terms of a write, j parts of the state (K), p parts
of the memories from which the chunk starts (P, see `plasticity.marks`).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity.marks import Factors
from plasticity.memory.dense import TraceMatrix
from plasticity.types import Array, Form, Read, Site, Token


class Written(NamedTuple):
    """One layer of a memory after each step of a chunk. Keeps are one number per step."""

    parts: tuple[Array, ...]  # the P parts, each [O, I]
    start: Array  # [C, P], how much of each part is left in the trace after each step
    mix: Array  # [C, C], how much of write s is left after step t; its rate is in `left`
    left: Array  # [C, N, O], times the rate
    right: Array  # [C, N, I]


# The axes over which `jax.vmap` maps a layer: the steps after which it is read.
AFTER_EACH = Written(parts=None, start=0, mix=0, left=None, right=None)  # type: ignore[arg-type]


def parts_of(form: Form, *states: TraceMatrix | None) -> tuple[Array, ...]:
    """The P parts of the states, with biases as last columns: [O, I] or [O, I + 1]."""

    def whole(weight: Array, bias: Array) -> Array:
        return jnp.concatenate([weight, bias[:, None]], 1) if form.bias else weight

    found: list[Array] = []
    for state in states:
        if state is not None:
            found.append(whole(state.weight, state.bias))
            found += [] if state.momentum is None else [whole(*state.momentum)]
    return tuple(found)


def with_one(form: Form, x: Array) -> Array:
    """An input [..., I], with the 1 that a bias is multiplied by."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1) if form.bias else x


def unwritten(parts: tuple[Array, ...], start: Array) -> Written:
    """Traces that are mixes of parts alone, by `start` [C, P]."""
    steps, dtype = len(start), parts[0].dtype
    left, right = (jnp.zeros((0, 1, size), dtype) for size in parts[0].shape)
    return Written(parts, start, jnp.zeros((steps, 0), dtype), left, right)


def reader(form: Form, layers: Mapping[str, Written]) -> Read:
    """`read` of a memory after one step: `start` [P] and `mix` [C]."""

    def read(x: Array, layer: str = "", *, transposed: bool = False) -> Array:
        written = layers[layer]
        if form.to_weights is not None or form.settle is not None:
            return _mapped(form, written, x, transposed)
        if transposed:
            found = _mixed(written, x, written.left, written.right, True)
            return found[:-1] if form.bias else found
        return _mixed(written, with_one(form, x), written.right, written.left, False)

    return read


def _mixed(layer: Written, x: Array, asked: Array, told: Array, transposed: bool) -> Array:
    found = jnp.einsum("s,sn,sno->o", layer.mix, asked @ x, told)
    for start, part in zip(layer.start, layer.parts, strict=True):
        found += start * ((part.T if transposed else part) @ x)
    return found


def _mapped(form: Form, layer: Written, x: Array, transposed: bool) -> Array:
    trace = jnp.einsum("s,sno,sni->oi", layer.mix, layer.left, layer.right)
    for start, part in zip(layer.start, layer.parts, strict=True):
        trace += start * part
    weight = trace[:, :-1] if form.bias else trace
    if form.settle is not None and len(layer.mix):  # the state before a chunk has settled
        weight = form.settle(weight)
    if form.to_weights is not None:
        weight = form.to_weights(weight)
    if transposed:
        return weight.T @ x
    return weight @ x + (trace[:, -1] if form.bias else 0)


def answered(site: Site, form: Form, tokens: Token, layers: dict[str, Written]) -> Array:
    """The answers [C, O] to prepared tokens [C, ...]."""

    def one(token: Token, layers: dict[str, Written]) -> Array:
        return site.answer(token, reader(form, layers))

    return jax.vmap(one, (0, dict.fromkeys(layers, AFTER_EACH)))(tokens, layers)


def after_chunk(
    form: Form,
    state: TraceMatrix,
    parts: tuple[Array, ...],
    chunk: Factors,
    written: Array,
    right: Array,
) -> TraceMatrix:
    """The state after a chunk.

    Args:
      form: of the writes.
      state: before the chunk.
      parts: P, from which the chunk starts.
      chunk: its factors.
      written: left [C, N, O], times the rate.
      right: [C, N, I], or I + 1 with a bias.
    """
    found = []
    for j in range(chunk.wrote.shape[1]):
        part = jnp.einsum("sno,sni->oi", written, chunk.wrote[:, j, None] * right)
        for p, old in enumerate(parts):
            part += chunk.passed[j, p, None] * old
        found.append(part)
    pairs = [(part[:, :-1], part[:, -1]) if form.bias else (part, None) for part in found]

    def one(pair: tuple[Array, Array | None], bias: Array) -> tuple[Array, Array]:
        return pair[0], bias if pair[1] is None else pair[1]

    weight, bias = one(pairs[0], state.bias)
    weight = weight if form.settle is None else form.settle(weight)
    momentum = None if state.momentum is None else one(pairs[1], state.momentum[1])
    return TraceMatrix(weight, bias, momentum)
