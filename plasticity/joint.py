"""The program of one step and of its adjoint, cut in three by what each part costs.

Traced together, a step and its vjp are one straight-line program. Some of its values depend on the
inputs alone (primal), the others on cotangents too. It is cut into

  forward  what the walk in time does, and `kept`: primal values that are dear to compute and small
           to store, namely sums and matrix products no larger than what a step appends
  reverse  what the walk back in time does, given `kept`; primal values that were not kept are
           computed again from the inputs and the finished history
  finish   parameter gradients that nothing on the walk back waits for. Where such a gradient is a
           sum of matrix products it is cheaper to lay the factors of each step aside and to
           multiply once at the end: sum_t a_t b_t^T = [a_1 a_2 ..] [b_1 b_2 ..]^T, a product with
           T times the inner dimension. Linear operations behind the product (a transpose, a
           scaling by a parameter) commute with the sum and are done once.

Nothing here knows what the step is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var, jaxpr_as_fun

from plasticity.types import Array

PRODUCT = "dot_general"
SUMS = {PRODUCT, "reduce_sum"}
LINEAR = {"add_any", "transpose", "reshape", "neg", "convert_element_type", "reduce_sum", "copy"}


class Deferred(NamedTuple):
    """A parameter gradient that waits for the end of the walk."""

    products: list[JaxprEqn]  # summed over steps by enlarging their inner dimension
    tail: list[JaxprEqn]  # linear, from the summed products to the gradient


def is_float(leaf: Any) -> bool:
    """Whether a leaf takes part in differentiation."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def floats(leaves: Iterable[Any]) -> list[Any]:
    """The leaves, with None in place of those that take no part in differentiation."""
    return [leaf if is_float(leaf) else None for leaf in leaves]


class Joint:
    """The three parts of `step`; arguments and results are lists of leaves.

    Args:
      step: (params, carry, history, x, t) -> (carry, entry, y).
      args: examples, or shapes and types, of the five arguments.
    """

    def __init__(self, step: Callable, args: Sequence[Any]):
        out = jax.eval_shape(step, *args)
        cotangents = [floats(group) for group in out]
        program, shape = jax.make_jaxpr(_with_adjoint(step), return_shape=True)(args, cotangents)
        self.args, self.cotangents = jax.tree.unflatten(
            jax.tree.structure((args, cotangents)), program.jaxpr.invars
        )
        outputs, grads = jax.tree.unflatten(jax.tree.structure(shape), program.jaxpr.outvars)
        self.outputs, self.grads = outputs, grads
        self.jaxpr, self.eqns = program.jaxpr, program.jaxpr.eqns
        self.consts = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
        self.adjoint = dependent(self.eqns, jax.tree.leaves(self.cotangents))
        self._cut()

    def _cut(self) -> None:
        params, *rest = ([self._unless_zero(g) for g in group] for group in self.grads)
        walk = jax.tree.leaves(rest)
        walked = set(map(id, _needed(self.eqns, walk)))
        per_step = dependent(self.eqns, jax.tree.leaves((self.args[1:], self.cotangents)))
        self.deferred = {
            i: found
            for i, grad in enumerate(params)
            if grad is not None and (found := self._defer(grad, walked, per_step)) is not None
        }
        now = [None if i in self.deferred else grad for i, grad in enumerate(params)]
        operands = (v for d in self.deferred.values() for e in d.products for v in e.invars)
        self.factors = list(dict.fromkeys(operands))
        self.reverse_outputs = (now, *rest, self.factors)
        targets = jax.tree.leaves(self.reverse_outputs)
        limit = sum(_bytes(v) for v in self.outputs[1])
        small = [
            out
            for eqn in _needed(self.eqns, targets)
            for out in eqn.outvars
            if eqn.primitive.name in SUMS and out not in self.adjoint and _bytes(out) <= limit
        ]
        self.reverse_eqns = _needed(self.eqns, targets, known=small)
        used = {v for e in self.reverse_eqns for v in e.invars if isinstance(v, Var)} | set(targets)
        self.kept = [v for v in small if v in used]
        self.forward_eqns = _needed(self.eqns, jax.tree.leaves((self.outputs, self.kept)))

    def _unless_zero(self, grad: Any) -> Any:
        """None for a gradient that no cotangent reaches."""
        return grad if isinstance(grad, Var) and grad in self.adjoint else None

    def _defer(self, grad: Var, walked: set[int], per_step: set[Var]) -> Deferred | None:
        products, tail, wanted = [], [], {grad}
        for eqn in reversed(self.eqns):
            if wanted.isdisjoint(eqn.outvars):
                continue
            wanted.difference_update(eqn.outvars)
            moving = [v for v in eqn.invars if isinstance(v, Var) and v in per_step]
            name = eqn.primitive.name
            if id(eqn) in walked:
                return None
            if name == PRODUCT and len(moving) == 2:
                products.append(eqn)
            elif name in LINEAR or (name == "mul" and len(moving) == 1) or not moving:
                tail.append(eqn)
                wanted.update(v for v in eqn.invars if isinstance(v, Var))
            else:
                return None
        if any(v in per_step for v in wanted):
            return None
        # Accumulating writes each product and reads and writes the sum; factors are written and
        # read once.
        factors = {v for eqn in products for v in eqn.invars}
        if sum(map(_bytes, factors)) > 2 * _bytes(grad):
            return None
        return Deferred(products, tail[::-1])

    def forward(self, *args: Any) -> tuple[list, list, list, list]:
        """(params, carry, history, x, t) -> (carry, entry, y, kept)."""
        env = self._bind(self.args, args)
        return evaluate(self.jaxpr, self.forward_eqns, env, (*self.outputs, self.kept))

    def reverse(self, args: Any, kept: list, cotangents: Any) -> tuple[list, ...]:
        """Gradients (params, carry, history, x) and the factors of those that wait.

        None stands for a gradient that is zero, that waits, or that does not exist.
        """
        env = self._bind((self.args, self.kept, self.cotangents), (args, kept, cotangents))
        return evaluate(self.jaxpr, self.reverse_eqns, env, self.reverse_outputs)

    def accumulated(self, params: list) -> list:
        """The parameters whose gradient is summed on the way back; None in place of the others."""
        return [p if now else None for p, now in zip(params, self.reverse_outputs[0], strict=True)]

    def finish(self, params: list, sums: list, factors: list) -> list:
        """All parameter gradients, from the sums and the factors of all steps [T, ...]."""
        env = self._bind(self.args[0], params)
        stacked = dict(zip(self.factors, factors, strict=True))
        grads = list(sums)
        for i, (products, tail) in self.deferred.items():
            over_steps = {eqn.outvars[0]: _product_over_steps(eqn, stacked) for eqn in products}
            grads[i] = evaluate(self.jaxpr, tail, env | over_steps, self.grads[0][i])
        return grads

    def _bind(self, variables: Any, values: Any) -> dict[Var, Any]:
        names = jax.tree.leaves(variables)
        return self.consts | dict(zip(names, jax.tree.leaves(values), strict=True))


def evaluate(jaxpr: Jaxpr, eqns: Sequence[JaxprEqn], env: Mapping[Var, Any], outputs: Any) -> Any:
    """Runs some equations of a program, from known values, and reads `outputs`, a pytree."""
    atoms, tree = jax.tree.flatten(outputs)
    unnamed = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    part = jaxpr.replace(
        constvars=[], invars=list(env), outvars=atoms, eqns=list(eqns), debug_info=unnamed
    )
    return jax.tree.unflatten(tree, jaxpr_as_fun(ClosedJaxpr(part, ()))(*env.values()))


def hoist(program: ClosedJaxpr, fixed: int) -> tuple[Callable, Callable]:
    """Splits a program by what depends on its constants and first `fixed` arguments alone.

    Returns:
      before(*fixed arguments) -> values, to be computed once;
      step(values, *other arguments) -> results, which reads them.
    """
    jaxpr = program.jaxpr
    known, others = jaxpr.invars[:fixed], jaxpr.invars[fixed:]
    moving = dependent(jaxpr.eqns, others)
    early = [e for e in jaxpr.eqns if moving.isdisjoint(e.outvars)]
    late = [e for e in jaxpr.eqns if not moving.isdisjoint(e.outvars)]
    read = {v: None for e in late for v in e.invars if isinstance(v, Var)}
    read |= {v: None for v in jaxpr.outvars if isinstance(v, Var)}
    values = [v for v in read if v not in moving]

    def before(*args: Any) -> list[Any]:
        env = dict(zip((*jaxpr.constvars, *known), (*program.consts, *args), strict=True))
        return evaluate(jaxpr, early, env, values)

    def step(given: list[Any], *args: Any) -> list[Any]:
        env = dict(zip((*values, *others), (*given, *args), strict=True))
        return evaluate(jaxpr, late, env, list(jaxpr.outvars))

    return before, step


def _with_adjoint(step: Callable) -> Callable:
    """(args, cotangents) -> (results of the step, gradients of params, carry, history and x)."""

    def run(args: Any, cotangents: Any) -> tuple[Any, Any]:
        *groups, t = args

        def differentiable(chosen: Any) -> tuple[Any, Any]:
            merged = (
                [b if a is None else a for a, b in zip(some, every, strict=True)]
                for some, every in zip(chosen, groups, strict=True)
            )
            out = step(*merged, t)
            return [floats(group) for group in out], out

        _, pull, out = jax.vjp(differentiable, [floats(g) for g in groups], has_aux=True)
        (grads,) = pull(cotangents)
        return out, grads

    return run


def _bytes(atom: Any) -> int:
    return atom.aval.size * atom.aval.dtype.itemsize


def dependent(eqns: Sequence[JaxprEqn], sources: Iterable[Var]) -> set[Var]:
    """All variables that depend on one of `sources`, which are included."""
    found = set(sources)
    for eqn in eqns:
        if any(isinstance(v, Var) and v in found for v in eqn.invars):
            found.update(eqn.outvars)
    return found


def _needed(
    eqns: Sequence[JaxprEqn], targets: Iterable[Any], known: Iterable[Var] = ()
) -> list[JaxprEqn]:
    """The equations that `targets` need, in order, if `known` need not be computed."""
    known = set(known)
    wanted = {v for v in targets if isinstance(v, Var)} - known
    found = []
    for eqn in reversed(eqns):
        if not wanted.isdisjoint(eqn.outvars):
            found.append(eqn)
            wanted |= {v for v in eqn.invars if isinstance(v, Var)} - known
    return found[::-1]


def _product_over_steps(eqn: JaxprEqn, stacked: Mapping[Any, Array]) -> Array:
    """The sum over the leading axis of a batched `dot_general`, as one product."""
    contracted, batched = eqn.params["dimension_numbers"]
    inner = [(0, *(axis + 1 for axis in axes)) for axes in contracted]
    outer = [tuple(axis + 1 for axis in axes) for axes in batched]
    left, right = (stacked[v] for v in eqn.invars)
    return lax.dot_general(
        left,
        right,
        ((inner[0], inner[1]), (outer[0], outer[1])),
        precision=eqn.params["precision"],
        preferred_element_type=eqn.params["preferred_element_type"],
    )
