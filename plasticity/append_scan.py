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

where H_bar, the adjoint of the history, starts as the cotangent of the finished history. This needs
memory for one history, one adjoint of it, and the few values that are kept of each step.
`plasticity.joint` cuts the program of a step and its adjoint into what the forward walk does, what
the reverse walk does, and parameter gradients that are one large product over all steps at the end.

Example: y_t = p sum_{s<t} x_s . x_t, for inputs xs [T, N]. The mask hides the rows >= t.

  def step(p, carry, history, x, t):
      scores = jnp.where(jnp.arange(len(history)) < t, history @ x, 0.0)
      return carry, x, p * scores.sum()       # carry; the entry, row t of the history; y_t

  _, history, ys = append_scan(step, p, (), jnp.zeros((T, N)), xs)

These work as in `lax.scan`: Python numbers as carry or cotangent, steps that close over traced
values, steps without a reverse mode (`lax.while_loop`) as long as no gradient passes through them,
and side effects. An effect of the step (`jax.debug.print`, `io_callback`,
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
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity.histories import Histories
from plasticity.joint import Joint
from plasticity.packing import Packing
from plasticity.program import StepProgram, check_step, is_float, promoted, weak
from plasticity.types import Array, PyTree
from plasticity.walks import Leaves, walk_back, walk_forward

# step(params, carry, history, x, t) -> (carry, entry, y)
Step = Callable[[PyTree, PyTree, PyTree, PyTree, Array], tuple[PyTree, PyTree, PyTree]]


def append_scan(
    step: Step,
    params: PyTree,
    carry: PyTree,
    history: PyTree,
    xs: PyTree,
    *,
    axis: int = 0,
    window: PyTree | None = None,
) -> tuple[PyTree, PyTree, PyTree]:
    """Runs `step` T times, and differentiates with the memory of one history.

    To run many episodes, map the *step* over them, with `axis=1` if episodes lead:
    `append_scan(jax.vmap(step, in_axes=(None, 0, 0, 0, None)), ...)`. Mapping `append_scan` itself
    gives the same values, but keeps a copy of every parameter's gradient for each episode.

    Args:
      step: (params, carry, history, x, t) -> (carry, entry, y), with t [] int32; pure but for JAX's
        side effects. It must not depend on rows >= t of the history: they hold the blank on the way
        forward and the future on the way back.
      params: constant over steps; differentiable.
      carry: state before the first step, as in `lax.scan`; differentiable.
      history: blank buffers, with at least T rows along `axis`; of the structure of an entry.
      xs: inputs, leading axis T; differentiable.
      axis: the axis of every history leaf along which it grows; an entry lacks it.
      window: for every history leaf an int W: step t is given the W rows before row t alone, for
        t < W with the first rows of the blank buffer in front; 0: all rows. None: 0 for every leaf.

    Returns:
      The last carry; the finished history; ys, with leading axis T.

    Raises:
      ValueError: xs is empty or of several lengths, a carry changes its type, or an entry or a
        window does not fit its buffer.

    >>> import jax.numpy as jnp
    >>> def step(p, carry, history, x, t):  # y_t = p times the sum of the x before t
    ...     seen = jnp.where(jnp.arange(len(history)) < t, history, 0.0)
    ...     return carry, x, p * seen.sum()
    >>> append_scan(step, 10.0, (), jnp.zeros(3), jnp.array([1.0, 2.0, 3.0]))[2].tolist()
    [0.0, 10.0, 30.0]
    """
    params, carry, history, xs = jax.tree.map(jnp.asarray, (params, carry, history, xs))
    steps = _length(xs)
    histories, first = _histories(history, axis, window), jnp.zeros((), jnp.int32)
    buffers = histories.padded(jax.tree.leaves(history))
    seen = jax.tree.unflatten(jax.tree.structure(history), histories.seen(buffers, first))
    rest = (seen, jax.tree.map(lambda a: a[0], xs), first)
    trace = jax.make_jaxpr(step, return_shape=True)
    program, shape = trace(params, carry, *rest)
    if weak(carry):
        carry = promoted(carry, shape[0])
        program, shape = trace(params, carry, *rest)
    check_step(shape, carry, history, steps, axis)
    # What depends on parameters alone is computed once, here; JAX differentiates it as usual.
    split = StepProgram(program, len(jax.tree.leaves(params)), shape)
    values = split.before(*jax.tree.leaves(params))
    groups = (values, jax.tree.leaves(carry), buffers, jax.tree.leaves(xs))
    parts = zip(shape, _run(split, histories, *groups), strict=True)
    return tuple(jax.tree.unflatten(jax.tree.structure(s), flat) for s, flat in parts)


def _run(program: StepProgram, histories: Histories, *groups: Leaves) -> tuple:
    """The finished carry and history, and ys, flat."""
    try:
        carry, buffers, ys = _differentiable(program, histories)(*groups)
    except NotImplementedError:
        # `jax.shard_map` outside `jax.jit` refuses such a custom_vjp before it runs. Nothing is
        # differentiated there: under `jax.grad` the custom_vjp never reaches it.
        carry, buffers, ys = _values(program, histories, *groups)
    return carry, histories.finished(buffers), ys


def _histories(history: PyTree, axis: int, window: PyTree | None) -> Histories:
    """The windows of all buffers.

    Raises:
      ValueError: they are not one whole number for each buffer, none longer than the buffer.
    """
    if window is None:
        window = jax.tree.map(lambda _: 0, history)
    elif len(jax.tree.leaves(window)) != len(jax.tree.leaves(history)):
        raise ValueError(f"window is {window}, it should have one int for every leaf of history")
    windows = tuple(map(operator.index, jax.tree.leaves(window)))
    for rows, buffer in zip(windows, jax.tree.leaves(history), strict=True):
        if rows and not 0 <= rows <= buffer.shape[axis]:
            raise ValueError(
                f"window={rows} should be from 0 to {buffer.shape[axis]}, the rows of its buffer"
            )
    return Histories(axis, windows)


def _values(program: StepProgram, histories: Histories, *groups: Leaves) -> tuple:
    """(values, carry, history, xs) -> (carry, history, ys), flat."""
    packings = Packing(groups[1]), Packing([])
    return walk_forward(lambda *args: (*program.step(*args), []), histories, packings, *groups)[:3]


def _differentiable(program: StepProgram, histories: Histories) -> Callable[..., tuple]:
    """`_values` with the custom adjoint."""

    @jax.custom_vjp
    def run(*groups: Leaves) -> tuple:
        return _values(program, histories, *groups)

    def forward(*groups: list) -> tuple:
        perturbed = [[p.perturbed and is_float(p.value) for p in group] for group in groups]
        values, carry, history, xs = ([p.value for p in group] for group in groups)
        # The adjoint is traced here: a step that has none still runs where no gradient is taken.
        t = jnp.zeros((), jnp.int32)
        example = [values, carry, histories.seen(history, t), [x[0] for x in xs], t]
        joint = Joint(program.step, example, *program.active(*perturbed))
        packings = Packing(carry), Packing([v.aval for v in joint.kept])
        carry, history, ys, saved = walk_forward(
            joint.forward, histories, packings, values, carry, history, xs
        )
        back = functools.partial(walk_back, joint, histories, packings)
        return (carry, history, ys), jax.tree_util.Partial(back, values, history, xs, saved)

    def backward(residuals: jax.tree_util.Partial, cotangents: tuple) -> tuple:
        return residuals(cotangents)

    run.defvjp(forward, backward, symbolic_zeros=True)
    return run


def _length(xs: PyTree) -> int:
    """The common length of the leading axes."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(xs)]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"xs must share a leading axis T >= 1, but has leaves of shapes {shapes}")
    return lengths.pop()
