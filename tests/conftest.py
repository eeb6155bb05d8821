"""One compilation cache for all tests, and programs run as a user runs them."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

ROOT = pathlib.Path(__file__).parent.parent
# Compiling dominates the tests. These programs are compiled in half the time; they compute the same
# in the same precision. XLA_FLAGS of your own, if only " ", takes their place.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", QUICK)
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache(tmp_path_factory):
    """One cache per session, for this process and for the programs that it starts."""
    cache = tmp_path_factory.mktemp("cache")
    os.environ["PLASTICITY_CACHE_DIR"] = str(cache)
    jax.config.update("jax_compilation_cache_dir", str(cache / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture
def x64():
    """Runs the test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def program_with_devices():
    """Calls MODULE.FUNCTION() in a process whose CPU counts as that many devices."""

    def run(devices, module, function):
        code = (
            f"import jax; jax.config.update('jax_num_cpu_devices', {devices}); "
            f"import {module} as module; module.{function}()"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def program():
    """Runs `python -m experiments.NAME ARGS`: (exit code, stdout, stderr)."""

    def run(name, *args, timeout=300):
        done = subprocess.run(
            [sys.executable, "-m", f"experiments.{name}", *args],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return done.returncode, done.stdout, done.stderr

    return run
