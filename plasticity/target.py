"""The devices that programs are made for: those of this machine, or others, to compile only.

A mesh, the choice of an engine and the size of groups of chunks depend on them.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence

import jax

_OTHERS: contextvars.ContextVar[Sequence[jax.Device]] = contextvars.ContextVar("others", default=())


@contextlib.contextmanager
def compiling_for(others: Sequence[jax.Device]) -> Iterator[None]:
    """Within it, programs are made for `others`, such as those of `jax.experimental.topologies`.

    They can be lowered and compiled, from shapes alone, but not run.
    """
    token = _OTHERS.set(tuple(others))
    try:
        yield
    finally:
        _OTHERS.reset(token)


def devices() -> Sequence[jax.Device]:
    """All devices, of all processes."""
    return _OTHERS.get() or jax.devices()


def processes() -> int:
    """How many processes hold them."""
    return len({device.process_index for device in devices()})


def compiler_options() -> dict[str, bool] | None:
    """What XLA has to be told to compile for these devices.

    A Triton kernel for a product is chosen by timing it, which needs the GPU. Without these kernels
    XLA calls cuBLAS.
    """
    return {"xla_gpu_enable_triton_gemm": False} if _OTHERS.get() and platform() == "gpu" else None


def platform() -> str:
    """What they are: "cpu", "gpu" or "tpu"."""
    others = _OTHERS.get()
    if not others:
        return jax.default_backend()
    return "gpu" if others[0].platform == "cuda" else others[0].platform
