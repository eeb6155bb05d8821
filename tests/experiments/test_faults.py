"""What a disk may do to a run: damage, no room, no permission."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.run.checkpoint import CheckpointError, Checkpoints
from tests.conftest import ROOT
from tests.launching import TINY, final_state

HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])
LIKE = {"w": jax.ShapeDtypeStruct((50,), jnp.float32)}
RUN = ["--config=configs/copying.py:hebbian", *TINY, "--config.train.steps=8"]
RUN += ["--config.checkpoint.every=2", "--config.evaluate.every=0"]


def damage(checkpoint: pathlib.Path):
    """Cuts every file of a checkpoint in half, as a machine that goes down may."""
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    assert files
    for path in files:
        os.truncate(path, path.stat().st_size // 2)


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of the steps 1, 2 and 3, which hold that number."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", 3)
    for step in (1, 2, 3):
        checkpoints.save(step, {"w": jnp.full(50, step, jnp.float32)}, {"wall_seconds": 1.0})
    checkpoints.close()
    return tmp_path / "checkpoints"


def restore(folder):
    checkpoints = Checkpoints(folder, 3)
    try:
        state, _ = checkpoints.restore(LIKE, {"w": HERE})
        return checkpoints, float(state["w"][0])
    except CheckpointError:
        checkpoints.close()
        raise


def test_a_damaged_checkpoint_gives_way_to_the_one_before(saved, capsys):
    damage(saved / "3")
    checkpoints, value = restore(saved)
    assert value == 2
    told = capsys.readouterr().err
    assert "checkpoint 3 cannot be read" in told
    assert (saved.with_name("checkpoints-damaged") / "3-0").is_dir()  # moved, not lost
    checkpoints.save(3, {"w": jnp.full(50, 33.0)}, {"wall_seconds": 1.0})
    checkpoints.close()
    checkpoints, value = restore(saved)
    checkpoints.close()
    assert value == 33


def test_when_all_are_damaged_the_run_says_so(saved):
    for step in "123":
        damage(saved / step)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        restore(saved)


def test_a_run_goes_on_from_the_checkpoint_before_and_ends_the_same(program, tmp_path):
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    assert program("launch", *RUN, f"--workdir={whole}")[0] == 0
    assert program("launch", *RUN, f"--workdir={hurt}")[0] == 0
    (hurt / "result.json").unlink()
    damage(hurt / "checkpoints" / "8")
    code, _, err = program("launch", *RUN, f"--workdir={hurt}")
    assert code == 0, err
    assert "checkpoint 8 cannot be read" in err
    for a, b in zip(final_state(whole), final_state(hurt), strict=True):
        np.testing.assert_array_equal(a, b)
    a, b = (json.loads((folder / "result.json").read_text()) for folder in (whole, hurt))
    assert a["metrics"] == b["metrics"]


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
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "checkpoints cannot be saved" in told
    assert str(tmp_path / "run") in told
    assert not (tmp_path / "run" / "result.json").exists()
    assert (tmp_path / "run" / "config.json").exists()


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


def test_a_workdir_that_cannot_be_written(program, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = program("launch", *RUN, f"--workdir={tmp_path / 'file' / 'run'}")
    assert code == 2
    assert "cannot be written" in err
    assert (tmp_path / "file").read_text() == "mine"
