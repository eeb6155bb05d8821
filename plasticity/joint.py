"""The program of one step and its adjoint, cut in three by the cost of each part.

Traced together, a step and its vjp are one straight-line program. Some of its values depend on the
inputs alone (primal), the others on cotangents too (adjoint). It is cut into

  forward  what the walk in time does, and `kept`: primal values that are expensive to compute and
           small to store: sums and matrix products no larger than what a step appends, and what
           other devices sent
  reverse  what the walk back in time does, given `kept`; primal values that were not kept are
           computed again from the inputs and the finished history
  finish   parameter gradients on which nothing in the walk back depends. Where such a gradient is
           a sum of matrix products it is cheaper to store the factors of each step and to multiply
           once at the end: sum_t a_t b_t^T = [a_1 a_2 ..] [b_1 b_2 ..]^T, a product with T times
           the inner dimension. Linear operations behind the product (a transpose, a scaling by a
           parameter) commute with the sum and are done once.

Example: the step y = tanh(W x), whose cotangent is y_bar. Its joint program and the three parts:

  a = W x                  forward (a product, so `a` is kept)
  y = tanh(a)              forward; in reverse computed again from `a`, which is cheap
  b = y_bar (1 - y^2)      reverse
  x_bar = W^T b            reverse
  W_bar = b x^T            finish: reverse stores b of every step, then W_bar = [b_1 ..] [x_1 ..]^T

A side effect (`jax.debug.print`, a callback) belongs to the part in which its inputs are known: one
of the step to `forward`, whose results are kept, so that `reverse` never repeats it; one whose
inputs depend on cotangents, as in the backward rule of a `jax.custom_vjp`, to `reverse`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.extend.core import JaxprEqn, Var

from plasticity.program import Flags, acts, dependent, evaluate, needed, sends
from plasticity.types import Array

PRODUCT = "dot_general"
SUMS = {PRODUCT, "reduce_sum"}
LINEAR = {"add_any", "transpose", "reshape", "neg", "convert_element_type", "reduce_sum", "copy"}


class Deferred(NamedTuple):
    """A parameter gradient that is computed after the walk back."""

    products: list[JaxprEqn]  # summed over steps by enlarging their inner dimension
    tail: list[JaxprEqn]  # linear, from the summed products to the gradient


def select(groups: Sequence[Sequence[Any]], flags: Flags) -> list[list[Any]]:
    """The flagged leaves of every group, with None in place of the others."""
    return [
        [leaf if flag else None for leaf, flag in zip(group, chosen, strict=True)]
        for group, chosen in zip(groups, flags, strict=True)
    ]


class Joint:
    """The three parts of `step`; arguments and results are lists of leaves.

    Args:
      step: (params, carry, history, x, t) -> (carry, entry, y).
      args: examples of the five arguments.
      inputs: flags of the leaves of params, carry, history and x to differentiate with respect to.
      outputs: flags of the leaves of carry, entry and y that have a cotangent.
    """

    def __init__(self, step: Callable, args: Sequence[Any], inputs: Flags, outputs: Flags):
        cotangents = select(jax.eval_shape(step, *args), outputs)
        trace = jax.make_jaxpr(_with_adjoint(step, inputs, outputs), return_shape=True)
        program, shape = trace(args, cotangents)
        self.args, self.cotangents = jax.tree.unflatten(
            jax.tree.structure((args, cotangents)), program.jaxpr.invars
        )
        self.outputs, self.grads = jax.tree.unflatten(
            jax.tree.structure(shape), program.jaxpr.outvars
        )
        self.jaxpr, self.eqns = program.jaxpr, program.jaxpr.eqns
        self.consts = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
        self.adjoint = dependent(self.eqns, jax.tree.leaves(self.cotangents))
        self._cut()

    def _cut(self) -> None:
        params, *rest = ([self._unless_zero(g) for g in group] for group in self.grads)
        on_walk = set(map(id, needed(self.eqns, jax.tree.leaves(rest))))
        per_step = dependent(self.eqns, jax.tree.leaves((self.args[1:], self.cotangents)))
        self.deferred = {
            i: found
            for i, grad in enumerate(params)
            if grad is not None and (found := self._defer(grad, on_walk, per_step)) is not None
        }
        now = [None if i in self.deferred else grad for i, grad in enumerate(params)]
        operands = (v for d in self.deferred.values() for e in d.products for v in e.invars)
        self.factors = list(dict.fromkeys(operands))
        self.reverse_outputs = (now, *rest, self.factors)
        targets = jax.tree.leaves(self.reverse_outputs)
        effects = {id(e): self.adjoint.isdisjoint(_variables(e)) for e in self.eqns if acts(e)}
        primal = {i for i, is_primal in effects.items() if is_primal}
        limit = sum(_bytes(v) for v in self.outputs[1])
        known = [
            out
            for eqn in needed(self.eqns, targets)
            for out in eqn.outvars
            if id(eqn) in primal
            or sends(eqn)
            or (eqn.primitive.name in SUMS and _bytes(out) <= limit)
            if out not in self.adjoint
        ]
        self.reverse_eqns = needed(self.eqns, targets, known, effects.keys() - primal)
        used = {v for e in self.reverse_eqns for v in _variables(e)} | set(targets)
        self.kept = [v for v in known if v in used]
        forward = jax.tree.leaves((self.outputs, self.kept))
        self.forward_eqns = needed(self.eqns, forward, always=primal)

    def _unless_zero(self, grad: Any) -> Any:
        """None for a gradient that no cotangent reaches."""
        return grad if isinstance(grad, Var) and grad in self.adjoint else None

    def _defer(self, grad: Var, on_walk: set[int], per_step: set[Var]) -> Deferred | None:
        products, tail, wanted = [], [], {grad}
        for eqn in reversed(self.eqns):
            if wanted.isdisjoint(eqn.outvars):
                continue
            wanted.difference_update(eqn.outvars)
            moving = [v for v in _variables(eqn) if v in per_step]
            name = eqn.primitive.name
            if id(eqn) in on_walk or acts(eqn):
                return None
            if name == PRODUCT and len(moving) == 2:
                products.append(eqn)
            elif name in LINEAR or (name == "mul" and len(moving) == 1) or not moving:
                tail.append(eqn)
                wanted.update(_variables(eqn))
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
        """Gradients (params, carry, history, x), and the factors of deferred ones.

        None stands for a gradient that is zero, deferred, or not defined.
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


def _with_adjoint(step: Callable, inputs: Flags, outputs: Flags) -> Callable:
    """(args, cotangents) -> (results of the step, gradients of params, carry, history and x)."""

    def run(args: Any, cotangents: Any) -> tuple[Any, Any]:
        *groups, t = args

        def differentiable(chosen: Any) -> tuple[Any, Any]:
            merged = (
                [b if a is None else a for a, b in zip(some, every, strict=True)]
                for some, every in zip(chosen, groups, strict=True)
            )
            out = step(*merged, t)
            return select(out, outputs), out

        _, pull, out = jax.vjp(differentiable, select(groups, inputs), has_aux=True)
        (grads,) = pull(cotangents)
        return out, grads

    return run


def _variables(eqn: JaxprEqn) -> list[Var]:
    return [v for v in eqn.invars if isinstance(v, Var)]


def _bytes(atom: Any) -> int:
    return atom.aval.size * atom.aval.dtype.itemsize


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
