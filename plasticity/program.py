"""Programs of JAX (jaxprs) in parts: what depends on what, how to run some of the equations."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var, jaxpr_as_fun

from plasticity.types import Array, PyTree

Flags = Sequence[Sequence[bool]]  # one for each leaf, in groups


def is_float(leaf: Any) -> bool:
    """Whether a leaf can have a derivative."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def evaluate(jaxpr: Jaxpr, eqns: Sequence[JaxprEqn], env: Mapping[Var, Any], outputs: Any) -> Any:
    """Runs some equations of a program, from known values, and reads `outputs`, a pytree."""
    atoms, tree = jax.tree.flatten(outputs)
    unnamed = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    part = jaxpr.replace(
        constvars=[], invars=list(env), outvars=atoms, eqns=list(eqns), debug_info=unnamed
    )
    return jax.tree.unflatten(tree, jaxpr_as_fun(ClosedJaxpr(part, ()))(*env.values()))


def dependent(
    eqns: Iterable[JaxprEqn], sources: Iterable[Var], carries: Callable[[Var], bool] | None = None
) -> set[Var]:
    """All variables that depend on one of `sources`, which are included.

    Args:
      eqns: the program.
      sources: variables.
      carries: whether a variable passes dependence on; None: every one does.
    """
    found = set(sources)
    for eqn in eqns:
        if any(isinstance(v, Var) and v in found for v in eqn.invars):
            found.update(v for v in eqn.outvars if carries is None or carries(v))
    return found


def needed(
    eqns: Sequence[JaxprEqn],
    targets: Iterable[Any],
    known: Iterable[Var] = (),
    always: Collection[int] = (),
) -> list[JaxprEqn]:
    """The equations that `targets` need, in order.

    Args:
      eqns: the program.
      targets: variables and literals.
      known: variables that need not be computed.
      always: ids of equations to include in any case, those with side effects.
    """
    known = set(known)
    wanted = {v for v in targets if isinstance(v, Var)} - known
    found = []
    for eqn in reversed(eqns):
        if id(eqn) in always or not wanted.isdisjoint(eqn.outvars):
            found.append(eqn)
            wanted |= {v for v in eqn.invars if isinstance(v, Var)} - known
    return found[::-1]


def acts(eqn: JaxprEqn) -> bool:
    """Whether an equation has a side effect. Naming a device axis, as psum does, is not counted."""
    return any(not _names_axis(effect) for effect in eqn.effects)


def sends(eqn: JaxprEqn) -> bool:
    """Whether an equation sends data to other devices."""
    return bool(eqn.invars) and any(map(_names_axis, eqn.effects))


def _names_axis(effect: Any) -> bool:
    return type(effect).__name__ == "NamedAxisEffect"  # which JAX does not export


def leaves_read(function: Callable, *args: PyTree) -> tuple[PyTree, ...]:
    """For each leaf of the arguments, whether a result of the function depends on it."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    read = {v for eqn in needed(jaxpr.eqns, jaxpr.outvars) for v in eqn.invars if _is_var(v)}
    read |= {v for v in jaxpr.outvars if _is_var(v)}
    return jax.tree.unflatten(jax.tree.structure(args), [v in read for v in jaxpr.invars])


def _is_var(atom: Any) -> bool:
    return isinstance(atom, Var)


class StepProgram:
    """The program of a step, without what depends on its parameters alone.

    Example: of `(p, c, x) -> c + exp(p) * x`, `before` computes `exp(p)`, once, and `step` the
    product and the sum. An equation with a side effect stays in the step: it runs at every step.

    Args:
      program: (params, carry, history, x, t) -> (carry, entry, y), all leaves in a row.
      fixed: the number of parameters.
      shape: the pytree (carry, entry, y).
    """

    def __init__(self, program: ClosedJaxpr, fixed: int, shape: PyTree):
        self.program, jaxpr = program, program.jaxpr
        self.tree = jax.tree.structure(shape)
        self.known, self.others = jaxpr.invars[:fixed], jaxpr.invars[fixed:]
        effects = [v for e in jaxpr.eqns if acts(e) for v in e.outvars]
        moving = dependent(jaxpr.eqns, [*self.others, *effects])
        self.late = [e for e in jaxpr.eqns if acts(e) or not moving.isdisjoint(e.outvars)]
        late = set(map(id, self.late))
        self.early = [e for e in jaxpr.eqns if id(e) not in late]
        read = {v: None for e in self.late for v in e.invars if isinstance(v, Var)}
        read |= {v: None for v in jaxpr.outvars if isinstance(v, Var)}
        self.values = [v for v in read if v not in moving]

    def before(self, *args: Any) -> list[Any]:
        """(parameters) -> the values that `step` reads."""
        jaxpr, consts = self.program.jaxpr, self.program.consts
        env = dict(zip((*jaxpr.constvars, *self.known), (*consts, *args), strict=True))
        return evaluate(jaxpr, self.early, env, self.values)

    def step(self, values: list[Any], *rest: Any) -> list[list[Any]]:
        """(values, carry, history, x, t) -> (carry, entry, y), in lists of leaves."""
        env = dict(zip((*self.values, *self.others), jax.tree.leaves((values, rest)), strict=True))
        jaxpr = self.program.jaxpr
        return self._groups(evaluate(jaxpr, self.late, env, list(jaxpr.outvars)))

    def active(
        self, values: list[bool], carry: list[bool], history: list[bool], x: list[bool]
    ) -> tuple[Flags, Flags]:
        """Which inputs and results of the step have a derivative, if these inputs have one.

        State that depends on such an input has one too. Constants stay out of the adjoint, as in
        `lax.scan`. So a `while_loop`, which has no reverse mode, may run over constants.

        Returns:
          Flags of (values, carry, history, x), and of (carry, entry, y).
        """
        while True:
            flags = [*values, *carry, *history, *x, False]
            sources = [v for v, f in zip((*self.values, *self.others), flags, strict=True) if f]
            found = dependent(self.late, sources, lambda v: is_float(v.aval))
            reached = [isinstance(v, Var) and v in found for v in self.program.jaxpr.outvars]
            new_carry, entry, y = self._groups(reached)
            grown = [*map(max, carry, new_carry)], [*map(max, history, entry)]
            if grown == (carry, history):
                return (values, carry, history, x), (carry, history, y)
            carry, history = grown

    def _groups(self, leaves: list) -> list[list]:
        return [jax.tree.leaves(group) for group in jax.tree.unflatten(self.tree, leaves)]


def weak(tree: PyTree) -> bool:
    """Whether a leaf is weakly typed, as JAX calls Python numbers and what is made of them."""
    return any(jax.typeof(leaf).weak_type for leaf in jax.tree.leaves(tree))


def promoted(carry: PyTree, after: PyTree) -> PyTree:
    """The carry, Python numbers in it (weak types) in the type that the step returns.

    As in `lax.scan`: a carry that starts as 0 may go on as a float.
    """
    if str(jax.tree.structure(carry)) != str(jax.tree.structure(after)):
        return carry  # `check_step` raises the error

    def promote(old: Array, new: jax.ShapeDtypeStruct) -> Array:
        dtype = jnp.result_type(old, new.dtype)
        return lax.convert_element_type(old, dtype) if weak(old) else old

    return jax.tree.map(promote, carry, after)


def check_step(shape: tuple, carry: PyTree, history: PyTree, steps: int, axis: int) -> None:
    """Checks that carry and entries fit what they are stored in.

    Args:
      shape: shapes of (carry, entry, y), which the step returns.
      carry: before the first step.
      history: the buffers.
      steps: T.
      axis: along which buffers have their rows.

    Raises:
      ValueError: a buffer has fewer rows than steps, or the step returns another structure, shape
        or type than it was given.
    """

    def row(buffer: Array) -> jax.ShapeDtypeStruct:
        rest = list(buffer.shape)
        del rest[axis]
        return jax.ShapeDtypeStruct(rest, buffer.dtype)

    for path, buffer in jax.tree.leaves_with_path(history):
        rows = buffer.shape[axis] if -buffer.ndim <= axis < buffer.ndim else 0
        if rows < steps:
            raise ValueError(
                f"history{jax.tree_util.keystr(path)} has {rows} rows, fewer than "
                f"the {steps} steps of xs"
            )
    after, entry, _ = shape
    for name, new, old in (("carry", after, carry), ("entry", entry, jax.tree.map(row, history))):
        is_now, should_be = str(jax.tree.structure(new)), str(jax.tree.structure(old))
        if is_now != should_be:
            raise ValueError(
                f"the {name} that the step returns is {is_now}, it should be {should_be}"
            )
        for (path, a), b in zip(jax.tree.leaves_with_path(new), jax.tree.leaves(old), strict=True):
            if (a.shape, a.dtype) != (b.shape, b.dtype):
                raise ValueError(
                    f"{name}{jax.tree_util.keystr(path)} is {a.dtype}{list(a.shape)}, "
                    f"it should be {b.dtype}{list(b.shape)}"
                )
