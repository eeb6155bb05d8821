"""One compilation cache for all tests, and programs run as a user runs them."""

import multiprocessing
import os
import pathlib
import runpy
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
# Each takes a minute or two. They are dealt out first, so that two workers end together.
LONG = ["test_unroll", "test_episode", "test_sweep", "test_launch", "test_check_numerics"]


def pytest_collection_modifyitems(items):
    """Modules that take long first; otherwise the order stays."""
    items.sort(key=lambda item: item.path.stem not in LONG)


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


# What every program imports takes longer than most of what is tested of it: it is imported once, by
# a server from which programs are forked. No program itself, since each defines its flags anew.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["experiments.run.train", "experiments.run.evaluate", "scipy.stats"])


def _become(name, args, environment, out, err):
    """In a forked process: what `python -m experiments.NAME ARGS` does."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = [name, *args]
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


@pytest.fixture
def program(tmp_path_factory):
    """Runs `python -m experiments.NAME ARGS`: (exit code, stdout, stderr)."""

    def run(name, *args, timeout=300):
        folder = tmp_path_factory.mktemp("printed")
        out, err = folder / "out", folder / "err"
        process = _FORKS.Process(target=_become, args=(name, args, dict(os.environ), out, err))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{name} {args}: {out.read_text()} {err.read_text()}")
        return process.exitcode, out.read_text(), err.read_text()

    return run
