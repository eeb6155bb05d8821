"""A chunk of steps of a memory site at once, for rules that are linear in the state.

A rule with `Site.linear` writes

  left_t = u_t + sum_m f_tm W_{t-1} a_tm,    W_t = keep_t W_{t-1} + rate_t left_t right_t^T

where u, f and the addresses a do not depend on the state: they are found by calling `Site.write`
with a `read` that records its argument, and by its derivative. For the delta rule u is the value,
a the key and f = -1. With the state W_0 before the chunk, the product b_t of all keeps up to step
t, and the product G_ts of those after step s up to step t, the lefts of a chunk solve one unit
lower triangular system,

  left_t - sum_{s<t} f_t G_{t-1,s} rate_s (right_s . a_t) left_s = u_t + f_t b_{t-1} W_0 a_t

and all answers and the next state are matrix products of them. Example, the delta rule with keep 1
and rate 1: left_1 = v_1 - W_0 k_1 and left_2 = v_2 - W_0 k_2 - (k_1 . k_2) left_1, which is
v_2 - W_1 k_2.

Keeps per output are not for this module: each output would have a triangle of its own, and forming
it takes longer than to go step by step. Products of keeps are those of `plasticity.spans`.

Axis letters: t and s steps of the chunk (C), m reads of a step, n terms of a write, i inputs, o
outputs, p parts from which the chunk starts (P, see `plasticity.marks`). L is 1, or I if keeps are
per input.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.chunk_reads import Written, after_chunk, answered, parts_of
from plasticity.marks import Factors, Marks, cut, factors
from plasticity.memory.contract import check_write
from plasticity.memory.dense import TraceMatrix
from plasticity.solves import solve_unit_lower
from plasticity.spans import Span, make_spans, mix, products, spread, total
from plasticity.types import Array, Form, PyTree, Site, Token, Write

NOT_LINEAR = "Site.linear must be False for this rule, whose steps are then taken one by one"
Parts = tuple[Array, ...]  # the P parts from which the chunk starts, [O, I] each


class Plan(NamedTuple):
    """All of a chunk that does not depend on the state before it."""

    tokens: Token  # [C, ...], prepared
    addresses: Array  # a [C, M, I]
    factors: Array  # f [C, M, N]
    write: Write  # left is u [C, N, O]; right [C, N, I]
    chunk: Factors
    system: Array  # [C N, C N], of each left in each later one: strictly lower triangular
    answers: PyTree  # what the first function in `ANSWERS` returns


def plan_chunk(site: Site, form: Form, piece: tuple[Token, Marks]) -> Plan:
    """Plans C steps: tokens [C, ...] and their marks."""
    tokens, marks = piece
    tokens = jax.vmap(site.prepare)(tokens)
    addresses, factored, write = jax.vmap(functools.partial(_affine, site, form))(tokens)
    if marks.valid is not None:
        write = write._replace(rate=jnp.where(marks.valid, write.rate, 0))
    steps, terms, _ = write.left.shape
    spans = make_spans(write.keep.reshape(steps, -1), write.momentum, marks.valid)
    chunk = factors(spans, marks, steps)
    recalled = cut(products(spans, addresses, write.right, after=False), chunk.same)
    system = jnp.einsum("tmn,tsmp,s->tnsp", factored, recalled, write.rate)
    system = system.reshape(steps * terms, steps * terms)
    after = site.order == "read_after_write"
    answers = ANSWERS[site.asks][0](spans, tokens, write.right, after, chunk.same)
    return Plan(tokens, addresses, factored, write, chunk, system, answers)


def run_chunk(
    site: Site, form: Form, initial: TraceMatrix | None, state: TraceMatrix, plan: Plan
) -> tuple[TraceMatrix, Array]:
    """The state after C steps, and their answers [C, O]. See `plasticity.associate`."""
    parts, chunk = parts_of(form, state, initial), plan.chunk
    left = _solve(plan, _from_start(chunk.before, parts, plan.addresses))
    written = plan.write.rate[:, None, None] * left
    seen = chunk.after if site.order == "read_after_write" else chunk.before
    answers = ANSWERS[site.asks][1](site, form, parts, plan, seen, written)
    return after_chunk(form, state, parts, chunk, written, plan.write.right), answers


def _plan_query(
    spans: list[Span], tokens: Token, right: Array, after: bool, same: Array | None
) -> Array:
    """The coefficients [C, C, N] of rate_s left_sn in answer t."""
    return cut(products(spans, tokens.query[:, None], right, after)[:, :, 0], same)


def _at_query(
    site: Site, form: Form, parts: Parts, plan: Plan, seen: Array, written: Array
) -> Array:
    """One read, at the query."""
    recalled = _from_start(seen, parts, plan.tokens.query[:, None])[:, 0]
    recalled += jnp.einsum("tsn,sno->to", plan.answers, written)
    return _asked(site, plan, recalled, backward=False)


def _plan_transposed(
    spans: list[Span], tokens: Token, right: Array, after: bool, same: Array | None
) -> Callable[[Array], Array]:
    """A function of the writes, which depend on the state: it is called once they are known."""
    return jax.tree_util.Partial(functools.partial(_spread, after), spans, right, same)


def _spread(
    after: bool, spans: list[Span], right: Array, same: Array | None, given: Array
) -> Array:
    return spread(spans, cut(given, same), right, after)


def _transposed(
    site: Site, form: Form, parts: Parts, plan: Plan, seen: Array, written: Array
) -> Array:
    """One read of the transposed memory, at the query."""
    query = plan.tokens.query
    found = total(seen[:, p] * (query @ part) for p, part in enumerate(parts))
    found += plan.answers(jnp.einsum("sno,to->tsn", written, query))
    return _asked(site, plan, found, backward=True)


def _asked(site: Site, plan: Plan, found: Array, backward: bool) -> Array:
    """The answers, given what is found at the queries: all that `Site.answer` may read.

    `backward`: it was found by a read of the transposed memory.
    """

    def answer(token: Token, there: Array) -> Array:
        def read(x: Array, layer: str = "", *, transposed: bool = False) -> Array:
            del layer
            if x is not token.query or transposed != backward:
                raise ValueError(
                    f"Site.asks={site.asks!r} must be 'freely': Site.answer reads something else "
                    f"than the {'transposed ' if backward else ''}memory at token.query"
                )
            return there

        return site.answer(token, read)

    return jax.vmap(answer)(plan.tokens, found)


def _plan_free(
    spans: list[Span], tokens: Token, right: Array, after: bool, same: Array | None
) -> Array:
    return cut(mix(spans, len(right), after), same)


def _free(site: Site, form: Form, parts: Parts, plan: Plan, seen: Array, written: Array) -> Array:
    """Reads of any kind and number."""
    layer = Written(parts, seen[..., 0], plan.answers, written, plan.write.right)
    return answered(site, form, plan.tokens, {"": layer})


# {Site.asks: (plans what does not depend on the state, computes the answers)}
ANSWERS: dict[str, tuple[Callable[..., Any], Callable[..., Array]]] = {
    "query": (_plan_query, _at_query),
    "transposed": (_plan_transposed, _transposed),
    "freely": (_plan_free, _free),
}


def _affine(site: Site, form: Form, token: Token) -> tuple[Array, Array, Write]:
    """Addresses, factors and u of one step: by a `read` that records, and by derivative."""
    addresses = []
    nothing = jnp.zeros_like(token.value)

    def record(x: Array, layer: str = "", *, transposed: bool = False) -> Array:
        del layer
        if transposed:
            raise ValueError(f"{NOT_LINEAR}: it reads the transposed memory")
        addresses.append(x)
        return nothing

    write = site.write(token, record)
    check_write(form, write, len(token.value), len(token.key))

    def written(*recalled: Array) -> Write:
        values = iter(recalled)

        def read(x: Array, layer: str = "", *, transposed: bool = False) -> Array:
            del x, layer, transposed
            return next(values)

        return site.write(token, read)

    def left(*recalled: Array) -> Array:
        return jnp.atleast_2d(written(*recalled).left)

    zeros = (nothing,) * len(addresses)
    if zeros:
        _check_linear(written, zeros)
    ones = [tuple(jnp.full_like(z, i == m) for i, z in enumerate(zeros)) for m in range(len(zeros))]
    factors = [jax.jvp(left, zeros, tangent)[1][:, 0] for tangent in ones]  # alike for all outputs
    u, right = jnp.atleast_2d(write.left), jnp.atleast_2d(write.right)
    return (
        jnp.stack(addresses) if addresses else jnp.zeros((0, *token.key.shape), u.dtype),
        jnp.stack(factors) if factors else jnp.zeros((0, len(u)), u.dtype),
        write._replace(left=u, right=right),
    )


def _check_linear(written: Callable[..., Write], zeros: tuple[Array, ...]) -> None:
    """Raises ValueError if a write is not of the form above, as far as its program shows it.

    `jax.linear_transpose` refuses what is not linear, and `jax.vmap` with out_axes=None refuses
    results that depend on what is mapped: here, on what is read.
    """

    def left_alone(*recalled: Array) -> Array:
        return written(*recalled).left

    def others(*recalled: Array) -> PyTree:
        write = written(*recalled)
        return write.right, write.rate, write.keep, write.momentum

    one_more = [jnp.stack([zero, zero]) for zero in zeros]
    try:
        jax.eval_shape(jax.vmap(others, out_axes=None), *one_more)
    except ValueError as error:
        raise ValueError(f"{NOT_LINEAR}: more than `left` depends on what is read") from error
    try:
        bar = jax.eval_shape(left_alone, *zeros)
        jax.eval_shape(jax.linear_transpose(left_alone, *zeros), bar)
    except Exception as error:  # of many types, by the operation that is not linear
        raise ValueError(f"{NOT_LINEAR}: `left` is not linear in what is read") from error


def _from_start(reads: Array, parts: Parts, x: Array) -> Array:
    """What the chunk starts from adds to w_t x_tm, for reads [C, P, L] and x [C, M, I]."""
    return total((reads[:, None, p] * x) @ part.T for p, part in enumerate(parts))


def _solve(plan: Plan, start: Array) -> Array:
    """The lefts [C, N, O] of the chunk's writes; start [C, M, O]."""
    u = plan.write.left
    if not plan.factors.shape[1]:
        return u
    known = u + jnp.einsum("tmn,tmo->tno", plan.factors, start)
    known = known.reshape(len(plan.system), -1)
    left = solve_unit_lower(plan.system, known)
    return left.reshape(u.shape)
