"""The memory of a process between two executions of a program."""

import os
import subprocess
import sys

import pytest

from tests.programs import ROOT

# Prints how many pages the system hands out during an execution that needs 128 MB for a moment.
PAGES = """
import resource
import jax, jax.numpy as jnp
from plasticity.experiments.run.freed_memory import keep_freed_memory

keep_freed_memory()
kept = jax.jit(lambda x: jax.lax.scan(lambda c, _: (c + 1, c), x, length=32)[1].sum())
x = jnp.ones(2**20)
for _ in range(3):
    kept(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    kept(x).block_until_ready()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 4)
"""


def pages(**env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUN"))}
    done = subprocess.run(
        [sys.executable, "-c", PAGES], cwd=ROOT, env=clean | env, capture_output=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has such settings")
def test_temporary_memory_is_not_requested_again():
    """128 MB are 32,768 pages of 4 KiB. A setting of the user's own leaves glibc as it is."""
    assert pages() < 100
    assert pages(MALLOC_TRIM_THRESHOLD_="131072") > 10_000
