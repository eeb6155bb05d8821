"""Emulates products in bfloat16 on a device that multiplies in float32 whatever is requested."""

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

ALGORITHM = lax.DotAlgorithmPreset.BF16_BF16_F32


def as_rounded(function):
    """The function, with the operands of every product in bfloat16 rounded, and exact sums.

    It interprets the jaxpr and rounds before each `dot_general` whose precision is ALGORITHM, in
    bodies of scans and in nested calls as well. Of what depends on the platform it takes the
    default, which is that of accelerators.
    """

    def run(*args):
        program, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        out = _evaluate(program, *jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), out)

    return run


def _evaluate(program, *args):
    env = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    env |= dict(zip(program.jaxpr.invars, args, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else env[atom]

    for eqn in program.jaxpr.eqns:
        env.update(zip(eqn.outvars, _apply(eqn, [read(v) for v in eqn.invars]), strict=True))
    return [read(v) for v in program.jaxpr.outvars]


def _apply(eqn, values):
    name, params = eqn.primitive.name, eqn.params
    if name == "dot_general" and params["precision"] == ALGORITHM:
        values = [lax.reduce_precision(v, exponent_bits=8, mantissa_bits=7) for v in values]
        return [lax.dot_general(*values, params["dimension_numbers"], lax.Precision.HIGHEST)]
    if name == "scan":
        fixed, carried = _constants_and_carry(params, values)
        consts, carry = values[:fixed], values[fixed : fixed + carried]

        def body(carry, xs):
            out = _evaluate(params["jaxpr"], *consts, *carry, *xs)
            return out[:carried], out[carried:]

        carry, ys = lax.scan(
            body, carry, values[fixed + carried :], params["length"], params["reverse"]
        )
        return [*carry, *ys]
    if params.get("branches_platforms"):  # of `jax.lax.platform_dependent`
        return _evaluate(params["branches"][-1], *values[1:])
    for inner in params.values():
        if isinstance(inner, Jaxpr):  # of `jax.checkpoint`
            inner = ClosedJaxpr(inner, ())
        if isinstance(inner, ClosedJaxpr):
            return _evaluate(inner, *values)
    out = eqn.primitive.bind(*values, **params)
    return out if eqn.primitive.multiple_results else [out]


def _constants_and_carry(params, values):
    """How many operands of a scan are constants, and how many its carry."""
    if "ft_in" in params:  # since JAX 0.12
        constants, carry, _ = params["ft_in"].update(values).unpack()
        return len(list(constants)), len(list(carry))
    return params["num_consts"], params["num_carry"]
