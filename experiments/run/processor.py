"""Settings of a process, and of JAX and its libraries; for before JAX looks for devices."""

import inspect
import os
import pathlib
import sys
import tempfile
import traceback
import warnings
from logging import CRITICAL, getLogger

import jax
from absl import logging
from jaxlib import xla_client

from plasticity.experiments.run.freed_memory import keep_freed_memory
from plasticity.experiments.validate import ConfigError


def prepare(keep_memory: bool) -> None:
    """All settings; `keep_memory`: whether to call `keep_freed_memory`.

    Raises:
      ConfigError: XLA does not accept XLA_FLAGS.
    """
    _check_xla_flags()
    use_all_cores()
    if keep_memory:
        keep_freed_memory()
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file at a lower level
    # Orbax logs every error with its traceback before it raises it, and leaves others of the same
    # cause to the event loop. The program prints the one that is raised.
    logging.get_absl_logger().addFilter(
        lambda record: not (record.exc_info and "orbax" in record.pathname)
    )
    getLogger("asyncio").setLevel(CRITICAL)
    # After a failed read or write, others end when their event loop is closed: in a coroutine of
    # Orbax, or a callback of TensorStore. The program prints the error that was raised.
    sys.unraisablehook = lambda error: (
        None
        if inspect.iscoroutine(error.object) or str(error.exc_value) == "Event loop is closed"
        else sys.__unraisablehook__(error)
    )
    if not jax.config.jax_compilation_cache_dir:
        _use_cache()
    # The default leaves out what compiles within a second: there are many of those in a launch.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _use_cache() -> None:
    """Keeps compiled programs between runs: in PLASTICITY_CACHE_DIR, or the user's cache."""
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    given = os.environ.get("PLASTICITY_CACHE_DIR") or f"{user}/plasticity"
    try:
        folder = pathlib.Path(given).expanduser() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # raises OSError if no file can be made there
    except (OSError, RuntimeError) as error:  # RuntimeError: ~NAME of no user
        print(f"compiling without a cache (PLASTICITY_CACHE_DIR={given}): {error}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _check_xla_flags() -> None:
    """Raises ConfigError if XLA does not accept XLA_FLAGS, which would end this process.

    XLA reads them in a forked process, before any of this one's threads has started.
    """
    if not os.environ.get("XLA_FLAGS", "").strip():
        os.environ.pop("XLA_FLAGS", None)  # XLA takes blanks for the name of a file
        return
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        with warnings.catch_warnings(action="ignore"):  # of threads, all idle here
            child = os.fork()
        if child == 0:
            try:
                os.dup2(printed.fileno(), 2)
                xla_client.CompileOptions()  # reads XLA_FLAGS; ends the process if they are wrong
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        why = printed.readline().rpartition("] ")[2].strip()
    if status:
        raise ConfigError(f"XLA_FLAGS={os.environ['XLA_FLAGS']!r} is wrong: {why}")


def is_device_error(error: BaseException) -> bool:
    """Whether JAX raised the error while it looked for devices."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(f.filename.endswith("xla_bridge.py") and f.name == "backends" for f in frames)


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
    # Those that this process may use, where the system says (not on macOS).
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jax.config.update("jax_num_cpu_devices", allowed or 1)
