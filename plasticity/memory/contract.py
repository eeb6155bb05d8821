"""What every engine checks, so that a wrong use is the same error in all of them."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from plasticity.registry import lookup
from plasticity.site import KEEPS
from plasticity.types import Array, DType, Form, Synapse, Write

_VMAP = "a memory holds one episode; jax.vmap adds episodes"


def check_chunk(owner: str, chunk: int, least: int) -> int:
    """The steps per chunk.

    Raises:
      ValueError: `chunk` is no whole number, or below `least`.
    """
    whole = hasattr(chunk, "__index__") and not isinstance(chunk, (bool, jax.core.Tracer))
    if not whole or chunk < least:
        raise ValueError(f"chunk={chunk} of {owner} should be a whole number of at least {least}")
    return operator.index(chunk)


def of_form(form: Form, *functions: Callable[..., Any]) -> list[Any]:
    """The functions of an engine, whose first argument is the form, for one form.

    Raises:
      ValueError: there is no such `Form.keep`.
    """
    lookup(dict.fromkeys(KEEPS), form.keep, "Form.keep")
    return [functools.partial(function, form) for function in functions]


def check_dtype(dtype: DType) -> None:
    """Raises ValueError unless a state can have this type: a trace is of real numbers."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype={dtype} of a memory should be a floating type")


def check_read(x: Array, synapse: Synapse, outputs: int, inputs: int) -> None:
    """Raises ValueError unless x is [I], and alpha and beta are of this layer."""
    _check_shape("x", x, (inputs,))
    sizes: dict[str, tuple[tuple[int, ...], ...]] = {
        "alpha": ((outputs, inputs),),
        "alpha_out": ((outputs,), ()),
        "alpha_in": ((inputs,), ()),
        "beta": ((outputs,), ()),
    }
    for name, allowed in sizes.items():
        factor = getattr(synapse, name)
        if factor is not None and jnp.shape(factor) not in allowed:
            _check_shape(f"Synapse.{name}", factor, allowed[0])


def check_form(engine: str, form: Form) -> None:
    """Raises ValueError for a form that an engine which stores no matrix cannot express."""
    if form.keep == "synapse":
        raise ValueError(
            f"the {engine} engine cannot keep each synapse at a rate of its own (Form.keep="
            "'synapse'): memory.engine='dense' can"
        )
    if form.to_weights is not None or form.settle is not None:
        raise ValueError(
            f"the {engine} engine cannot compute the weights of this rule, which are a map of the "
            "whole trace (Form.to_weights, Form.settle): memory.engine='dense' can"
        )


def check_write(form: Form, write: Write, outputs: int, inputs: int) -> None:
    """Raises ValueError unless the write has the form and the sizes that were announced."""
    terms = (form.terms,) if form.terms > 1 else ()
    _check_shape("left", write.left, (*terms, outputs))
    _check_shape("right", write.right, (*terms, inputs))
    sizes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        "scalar": ((), ()),
        "output": ((outputs,), (outputs,)),
        "input": ((), (inputs,)),
        "synapse": ((), (outputs, inputs)),
    }
    for name, size in zip(("rate", "keep"), sizes[form.keep], strict=True):
        factor = getattr(write, name)
        if jnp.shape(factor) not in ((), size):
            _check_shape(name, factor, size)
    if (write.momentum is not None) != form.momentum:
        raise ValueError(
            f"momentum is {write.momentum}, but the memory was made for Form(momentum="
            f"{form.momentum}): make it by ENGINE(form=rule.form)"
        )
    if write.momentum is not None:
        _check_shape("momentum", write.momentum, ())


def _check_shape(name: str, array: Array, should_be: tuple[int, ...]) -> None:
    if jnp.shape(array) != should_be:
        raise ValueError(f"{name} has shape {jnp.shape(array)}, it should be {should_be}: {_VMAP}")
