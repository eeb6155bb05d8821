"""A scan whose state mostly grows: reverse-mode differentiation that stores no history.

`jax.lax.scan` saves its carry at every step for the backward pass. When the carry is a history (an
attention cache, the writes of a fast-weight memory) that is T copies of something of size T, though
each step only adds one row. `append_scan` therefore splits the state in two:

  carry    small and rewritten at every step; saved at every step, as `lax.scan` does
  history  buffers of T rows; step t reads rows before t and appends row t, its *entry*

Derivation. Write step t as (carry, entry_t, y_t) = f(params, carry, history, x_t, t). The finished
history holds every entry, and f ignores rows >= t: so the state before step t need not be stored,
the finished history serves at every t. The loss depends on entry_t only through the reads of
later steps, hence walking t downwards

  entry_bar_t = H_bar[t]                                   complete: all later steps were visited
  params_bar, carry_bar, H_bar, x_bar_t  +=  vjp of f at step t, applied to
                                             (carry_bar, entry_bar_t, y_bar_t)

where H_bar, the adjoint of the history, starts as the cotangent of the finished history. Memory is
one history, one adjoint of it, and the values kept of each step. `plasticity.joint` cuts the
program of a step and its adjoint into what the forward walk does, what the reverse walk does, and
parameter gradients that are one large product over all steps at the end.

Example: y_t = p sum_{s<t} x_s . x_t, for inputs xs [T, N]. The mask hides the rows >= t.

  def step(p, carry, history, x, t):
      scores = jnp.where(jnp.arange(len(history)) < t, history @ x, 0.0)
      return carry, x, p * scores.sum()       # carry; the entry, row t of the history; y_t

  _, history, ys = append_scan(step, p, (), jnp.zeros((T, N)), xs)

As in `lax.scan`: Python numbers as carry or cotangent, steps that close over
traced values, steps without a reverse mode (`lax.while_loop`) as long as no gradient passes through
them, and side effects. An effect of the step (`jax.debug.print`, `io_callback`,
`checkify.check`) runs once per step, on the way forward, with or without a gradient. An effect
within the adjoint, such as a print in the backward rule of a `jax.custom_vjp`, runs once per step
on the way back.

Limits. Reverse mode only: `jax.jvp`, `jax.jacfwd` and `jax.linearize` raise JAX's TypeError about
forward mode and custom_vjp. Differentiating a gradient again in reverse mode works, and then stores
every step of the reverse walk. Values that `step` closes over count as parameters and receive
gradients like them; from JAX 0.12 on, `jax.checking_leaks` reports such a value. The initial
content of the history receives none.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from plasticity.joint import Joint
from plasticity.program import StepProgram, check_step, is_float, promoted, weak
from plasticity.types import Array, PyTree

Leaves = list[Array]

# step(params, carry, history, x, t) -> (carry, entry, y)
Step = Callable[[PyTree, PyTree, PyTree, PyTree, Array], tuple[PyTree, PyTree, PyTree]]
# The same, of leaves, and with what the walk back needs: -> (carry, entry, y, kept)
Forward = Callable[..., tuple[Leaves, Leaves, Leaves, Leaves]]


def append_scan(
    step: Step, params: PyTree, carry: PyTree, history: PyTree, xs: PyTree, *, axis: int = 0
) -> tuple[PyTree, PyTree, PyTree]:
    """Runs `step` T times, and differentiates with the memory of one history.

    To run many episodes, map the *step* over them, with `axis=1` if episodes lead:
    `append_scan(jax.vmap(step, in_axes=(None, 0, 0, 0, None)), ...)`. Mapping `append_scan` itself
    gives the same values, but keeps one copy of every parameter's gradient for each episode.

    Args:
      step: (params, carry, history, x, t) -> (carry, entry, y), with t [] int32; pure but for JAX's
        side effects. It must not depend on rows >= t of the history: they hold the blank on the way
        forward and the future on the way back.
      params: constant over steps; differentiable.
      carry: state before the first step, as in `lax.scan`; differentiable.
      history: blank buffers, with at least T rows along `axis`; of the structure of an entry.
      xs: inputs, leading axis T; differentiable.
      axis: the axis of every history leaf along which it grows; an entry lacks it.

    Returns:
      The last carry; the finished history; ys, with leading axis T.

    Raises:
      ValueError: xs is empty or of several lengths, a carry changes its type, or an entry does not
        fit its buffer.
    """
    params, carry, history, xs = jax.tree.map(jnp.asarray, (params, carry, history, xs))
    steps = _length(xs)
    rest = (history, jax.tree.map(lambda a: a[0], xs), jnp.zeros((), jnp.int32))
    trace = jax.make_jaxpr(step, return_shape=True)
    program, shape = trace(params, carry, *rest)
    if weak(carry):
        carry = promoted(carry, shape[0])
        program, shape = trace(params, carry, *rest)
    check_step(shape, carry, history, steps, axis)
    # What depends on parameters alone is computed once, here; JAX differentiates it as usual.
    split = StepProgram(program, len(jax.tree.leaves(params)), shape)
    values = split.before(*jax.tree.leaves(params))
    groups = (values, *map(jax.tree.leaves, (carry, history, xs)))
    try:
        out = _differentiable(split, axis)(*groups)
    except NotImplementedError:
        # `jax.shard_map` outside `jax.jit` refuses such a custom_vjp before it runs. Nothing is
        # differentiated there: under `jax.grad` the custom_vjp never reaches it.
        out = _values(split, axis, *groups)
    return tuple(
        jax.tree.unflatten(jax.tree.structure(s), o) for s, o in zip(shape, out, strict=True)
    )


def _values(program: StepProgram, axis: int, *groups: Leaves) -> tuple:
    """(values, carry, history, xs) -> (carry, history, ys), flat."""
    return _walk_forward(lambda *args: (*program.step(*args), []), axis, *groups)[:3]


def _differentiable(program: StepProgram, axis: int) -> Callable[..., tuple]:
    """`_values` with the custom adjoint."""

    @jax.custom_vjp
    def run(*groups: Leaves) -> tuple:
        return _values(program, axis, *groups)

    def forward(*groups: list) -> tuple:
        perturbed = [[p.perturbed and is_float(p.value) for p in group] for group in groups]
        values, carry, history, xs = ([p.value for p in group] for group in groups)
        # The adjoint is traced here: a step that has none still runs where no gradient is taken.
        example = [values, carry, history, [x[0] for x in xs], jnp.zeros((), jnp.int32)]
        joint = Joint(program.step, example, *program.active(*perturbed))
        carry, history, ys, saved = _walk_forward(joint.forward, axis, values, carry, history, xs)
        back = functools.partial(_walk_back, joint, axis)
        return (carry, history, ys), jax.tree_util.Partial(back, values, history, xs, saved)

    def backward(residuals: jax.tree_util.Partial, cotangents: tuple) -> tuple:
        return residuals(cotangents)

    run.defvjp(forward, backward, symbolic_zeros=True)
    return run


def _walk_forward(
    step: Forward, axis: int, values: Leaves, carry: Leaves, history: Leaves, xs: Leaves
) -> tuple[Leaves, Leaves, Leaves, tuple[Leaves, Leaves]]:
    """The finished carry and history, ys, and (carry, kept) of every step."""

    def store(history: Leaves, rows: Leaves, t: Array) -> Leaves:
        return [
            lax.dynamic_update_index_in_dim(buffer, row, t, axis)
            for buffer, row in zip(history, rows, strict=True)
        ]

    # A row is stored at the start of the next step: every read then follows the update of its
    # buffer, and XLA updates in place what it would otherwise copy.
    def body(state: tuple, scanned: tuple) -> tuple:
        (carry, history, pending), (x, t) = state, scanned
        history = store(history, pending, jnp.maximum(t - 1, 0))
        after, entry, y, kept = step(values, carry, history, x, t)
        return (after, history, entry), (y, (carry, kept))

    # Before the first step, the blank row itself is stored.
    first = [lax.index_in_dim(buffer, 0, axis, keepdims=False) for buffer in history]
    indices = _indices(xs)
    out: Any
    state, out = lax.scan(body, (carry, history, first), (xs, indices))
    (carry, history, last), (ys, saved) = state, out
    return carry, store(history, last, indices[-1]), ys, saved


def _walk_back(
    joint: Joint,
    axis: int,
    values: Leaves,
    history: Leaves,
    xs: Leaves,
    saved: tuple[Leaves, Leaves],
    cotangents: tuple,
) -> tuple[list, ...]:
    """Gradients of (values, carry, history, xs); None where there is none, or where it is zero."""
    carry_bar, history_bar, ys_bar = map(_arrays, cotangents, joint.cotangents)

    def rows(buffers: list, t: Array) -> list:
        return jax.tree.map(
            lambda bar: lax.dynamic_index_in_dim(bar, t, axis, keepdims=False), buffers
        )

    # As on the way forward, buffers are read after they were updated: the adjoint of the next
    # entry is taken out of them at the end of a step.
    def body(state: tuple, scanned: tuple) -> tuple:
        values_bar, carry_bar, entry_bar, history_bar = state
        x, t, y_bar, (carry, kept) = scanned
        now, before, read_bar, x_bar, factors = joint.reverse(
            (values, carry, history, x, t), kept, (carry_bar, entry_bar, y_bar)
        )
        before = [
            jnp.zeros_like(bar) if new is None and bar is not None else new
            for new, bar in zip(before, carry_bar, strict=True)
        ]
        history_bar = _add(history_bar, read_bar)
        next_bar = rows(history_bar, jnp.maximum(t - 1, 0))
        return (_add(values_bar, now), before, next_bar, history_bar), (x_bar, factors)

    values_bar = jax.tree.map(jnp.zeros_like, joint.accumulated(values))
    indices = _indices(xs)
    start = (values_bar, carry_bar, rows(history_bar, indices[-1]), history_bar)
    scanned = (xs, indices, ys_bar, saved)
    out: Any
    state, out = lax.scan(body, start, scanned, reverse=True)
    (values_bar, carry_bar, *_), (xs_bar, factors) = state, out
    return joint.finish(values, values_bar, factors), carry_bar, [None] * len(history), xs_bar


def _indices(xs: PyTree) -> Array:
    return jnp.arange(_length(xs), dtype=jnp.int32)


def _arrays(bars: list, like: list) -> list:
    """Cotangents as arrays: a symbolic zero is made one, a Python number gets its type."""

    def array(bar: Any, variable: Any) -> Array:
        if isinstance(bar, SymbolicZero):
            return jnp.zeros(bar.shape, variable.aval.dtype)
        return jnp.asarray(bar, variable.aval.dtype)

    return [None if v is None else array(bar, v) for bar, v in zip(bars, like, strict=True)]


def _add(sums: list, terms: list) -> list:
    """Adds leaf by leaf; a term that is None is zero."""
    return [a if b is None else a + b for a, b in zip(sums, terms, strict=True)]


def _length(xs: PyTree) -> int:
    """The common length of the leading axes."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(xs)]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"xs must share a leading axis T >= 1, but has leaves of shapes {shapes}")
    return lengths.pop()
