"""What every engine checks, so that a wrong use is the same error in all of them."""

import operator

import jax.numpy as jnp

from plasticity.types import Array, DType, Write

_VMAP = "a memory holds one episode; jax.vmap adds episodes"


def check_chunk(engine: str, chunk: int, least: int) -> int:
    """The steps per chunk.

    Raises:
      ValueError: `chunk` is no whole number, or below `least`.
    """
    if isinstance(chunk, bool) or not hasattr(chunk, "__index__") or chunk < least:
        raise ValueError(
            f"chunk={chunk} of the {engine} engine should be a whole number of at least {least}"
        )
    return operator.index(chunk)


def check_dtype(dtype: DType) -> None:
    """Raises ValueError unless a state can have this type: a trace is of real numbers."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype={dtype} of a memory should be a floating type")


def check_input(x: Array, inputs: int) -> None:
    """Raises ValueError unless x is [I]."""
    _check_shape("x", x, (inputs,))


def check_write(write: Write, outputs: int, inputs: int) -> None:
    """Raises ValueError unless left is [O], right [I], and rate and keep are [] or [O]."""
    _check_shape("left", write.left, (outputs,))
    _check_shape("right", write.right, (inputs,))
    for name, factor in (("rate", write.rate), ("keep", write.keep)):
        if jnp.ndim(factor):
            _check_shape(name, factor, (outputs,))


def _check_shape(name: str, array: Array, should_be: tuple[int, ...]) -> None:
    if jnp.shape(array) != should_be:
        raise ValueError(f"{name} has shape {jnp.shape(array)}, it should be {should_be}: {_VMAP}")
