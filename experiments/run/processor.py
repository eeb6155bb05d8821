"""Settings of a CPU and its memory that suit small networks; call before JAX sees its devices."""

import ctypes
import os

import jax

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


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
