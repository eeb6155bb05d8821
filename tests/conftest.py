"""One compilation cache for all tests, and programs run as a user runs them."""

import os

import jax
import pytest

from tests import programs
from tests.programs import ROOT

# Compiling dominates the tests, and with these flags it takes half the time; the programs compute
# the same, in the same precision. XLA_FLAGS of your own, if only empty, take their place. (XLA
# takes a value of blanks for the name of a file, and aborts the process.)
QUICK = "--xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 12):  # later versions have no other emitters
    QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", QUICK).strip()
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
def program_with_devices(tmp_path):
    """Calls MODULE.FUNCTION() in a process whose CPU counts as that many devices."""

    def run(devices, module, function):
        out = tmp_path / "printed"
        process = programs.start_with_devices(devices, module, function, out=out)
        assert process.wait(300) == 0, out.read_text()

    return run


@pytest.fixture
def program(tmp_path_factory):
    """Runs `python -m experiments.NAME ARGS`: (exit code, stdout, stderr)."""

    def run(name, *args, timeout=300):
        folder = tmp_path_factory.mktemp("printed")
        out, err = folder / "out", folder / "err"
        process = programs.start(name, *args, out=out, err=err)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return code, out.read_text(), err.read_text()

    return run
