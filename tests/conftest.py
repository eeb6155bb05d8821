"""Flags of the compiler, one compilation cache for all processes, and programs to start."""

import gc
import os

import jax
import pytest

from tests import programs
from tests.programs import ROOT

# Tracing and compiling dominate the tests. With these flags compiling takes half the time; the
# programs compute the same, in the same precision. XLA_FLAGS of your own, if only empty, take their
# place. (XLA takes a value of blanks for the name of a file, and aborts the process.)
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 12):  # later versions have no other emitters
    QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", QUICK).strip()
# A trace makes many objects that live as long as the trace: looking for garbage among them is a
# tenth of its time.
gc.set_threshold(50_000, 50, 100)
GOLDEN = ROOT / "tests" / "golden"
# The tests of these modules share nothing, and are distributed one by one. Every other module runs
# on one worker, so that fixtures of a module are made once.
SPLIT = ["test_unroll", "test_episode", "test_wrong_uses"]
# These take longest. They run first, so that the workers end together.
LONG = [*SPLIT[:2], "test_launch", "test_sweep", "test_interrupted", "test_learner", "test_leaks"]


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items):
    """Groups the tests of a module, unless it is split; long modules first."""
    for item in items:
        if item.path.stem not in SPLIT:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache(request, tmp_path_factory):
    """One cache for every worker, for the programs that they start, and for the next session.

    What compiles is the same as long as the program is: a third of the tests' time. It lies in
    pytest's own cache, which `pytest --cache-clear` empties.
    """
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the folder of a worker is in that of the session
        session = session.parent
    kept = getattr(request.config, "cache", None)  # none with -p no:cacheprovider
    cache = kept.mkdir("programs") if kept else session / "cache"
    cache.mkdir(exist_ok=True)
    os.environ["PLASTICITY_CACHE_DIR"] = str(cache)
    os.environ["PRINTED_DIR"] = str(session)
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
        try:
            assert process.wait(300) == 0, out.read_text()
        finally:
            process.kill()

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
