"""What a disk may do to a run that is under way: no room, no permission, too many open files."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.launching import TINY
from tests.sample import sampled

RUN = ["--config=configs/copying.py:hebbian", *TINY, "--config.train.steps=8"]
RUN += ["--config.checkpoint.every=2", "--config.evaluate.every=0"]


@pytest.mark.thorough
def test_a_full_disk_stops_the_run_with_a_message(tmp_path):
    """A limit on the size of files, which a checkpoint meets as it would a full disk."""
    code = (
        "import resource, runpy, sys; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "sys.argv = ['launch', *sys.argv[1:]]; "
        "runpy.run_module('experiments.launch', run_name='__main__')"
    )
    environment = dict(os.environ, PLASTICITY_CACHE_DIR=str(tmp_path / "cache"))
    flags = [*RUN, "--config.model.width=64", f"--workdir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *flags],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "checkpoints cannot be saved" in message
    assert str(tmp_path / "run") in message
    assert not (tmp_path / "run" / "result.json").exists()
    assert (tmp_path / "run" / "config.json").exists()


FAULTS = ["(folder / 'c').write_text('')", "limit(2)", "limit(6)"]


@pytest.mark.parametrize("fault", sampled(FAULTS, lambda fault: fault == "limit(2)"))
def test_a_process_whose_checkpoints_fail_ends(fault, tmp_path):
    """No thread of Orbax waits for files that were never opened."""
    code = f"""
import os, pathlib, resource, jax.numpy as jnp
from plasticity.experiments.run.checkpoint import Checkpoints

def limit(more):
    open_now = len(os.listdir('/proc/self/fd'))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + more, 4096))

folder = pathlib.Path({str(tmp_path)!r})
state = {{'w': jnp.ones(50)}}
{fault}
checkpoints = Checkpoints(folder / 'c', 2)
checkpoints.save(1, state, {{'wall_seconds': 1.0}})
checkpoints.wait()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "CheckpointError: checkpoints cannot be" in done.stderr


@pytest.mark.slow
def test_a_disk_that_is_full(program, tmp_path):
    """A real one, of 2 MB: full after some checkpoints, of which the newest is whole."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(size, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs privileges that this user has not")
    try:
        flags = [*RUN, "--config.train.steps=200", "--config.checkpoint.keep=100"]
        code, _, err = program("launch", *flags, f"--workdir={disk / 'run'}")
        assert code == 1, err
        assert "checkpoints cannot be saved" in err
        assert "Traceback" not in err
        kept = sorted(int(path.name) for path in disk.glob("run/checkpoints/[0-9]*[0-9]"))
        assert kept
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        code, _, err = program("launch", *flags, f"--workdir={disk / 'run'}")
        assert code == 0, err
        rows = map(json.loads, (disk / "run" / "metrics.jsonl").read_text().splitlines())
        logged = [row["step"] for row in rows if row["split"] == "train"]
        assert logged == list(range(20, 201, 20))
        assert len(json.loads((disk / "run" / "manifest.json").read_text())["resumed"]) == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)
