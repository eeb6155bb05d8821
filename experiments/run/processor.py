"""Settings of a CPU and its memory that suit small networks; call before JAX sees its devices."""

import ctypes
import os
import traceback
import warnings

import jax
from jaxlib import xla_client

from experiments.validate import ConfigError

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def check_xla_flags() -> None:
    """Raises ConfigError if XLA does not accept XLA_FLAGS, which would end this process.

    XLA reads them in a forked process, before any of this one's threads has started.
    """
    if not os.environ.get("XLA_FLAGS", "").strip():
        os.environ.pop("XLA_FLAGS", None)  # XLA takes blanks for the name of a file
        return
    reading, writing = os.pipe()
    with warnings.catch_warnings(action="ignore"):  # JAX and Python warn of threads, all idle here
        child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        xla_client.CompileOptions()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as pipe:
        printed = pipe.read().strip()
    _, status = os.waitpid(child, 0)
    if status:
        why = printed.partition("\n")[0].rpartition("] ")[2]
        raise ConfigError(f"XLA_FLAGS={os.environ['XLA_FLAGS']!r} is wrong: {why}")


def is_device_error(error: BaseException) -> bool:
    """Whether JAX raised the error while it looked for devices."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(f.filename.endswith("xla_bridge.py") and f.name == "backends" for f in frames)


def platforms_hint() -> str:
    """What to do about an error of that kind."""
    given = jax.config.jax_platforms
    if not given:
        return "JAX_PLATFORMS=cpu uses the CPU"
    return f"JAX_PLATFORMS={given} is not available here: unset it, or use JAX_PLATFORMS=cpu"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: in Python, or on a device."""
    text = str(error)
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "ut of memory" in text


def use_all_cores() -> None:
    """Lets a CPU count as one device per core, each of which works by itself.

    Nothing is changed that the user has set, nor on other platforms, nor by a later call.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    if jax.config.jax_num_cpu_devices > 0:
        return
    # One thread per device: operations of this size take less time than waking a second one.
    os.environ.setdefault("NPROC", "1")
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    jax.config.update("jax_num_cpu_devices", _cores())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS; counts those that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Lets the process keep the memory that it frees, up to its own peak.

    XLA asks for its temporary memory anew at every execution. glibc returns blocks of that size to
    the system at once, which hands them out again page by page, and clears each page first.
    Nothing is changed where the user has set one of glibc's MALLOC_ variables, nor without glibc.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_TOP_PAD, 2**26)
