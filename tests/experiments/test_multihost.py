"""Several processes as one run: same results, one stop, and none left behind."""

import itertools
import json
import shutil
import signal
import socket
import time

import numpy as np
import pytest

from plasticity.memory import ENGINES
from tests import programs
from tests.conftest import QUICK
from tests.launching import TINY, final_state

RUN = [
    "--config=configs/copying.py:hebbian",
    *TINY,
    "--config.train.batch=8",
    "--config.train.steps=12",
    "--config.evaluate.episodes=16",
    "--config.evaluate.batch=8",
    "--config.evaluate.every=0",
    "--config.checkpoint.every=4",
    "--config.log.every=1",
]
ENDLESS = ["--config.train.steps=100000", "--config.checkpoint.every=100"]


def start(workdir, devices, *flags):
    """One process with so many CPU devices."""
    flags = [*RUN, f"--workdir={workdir}", *flags]
    env = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count={devices}"}
    return programs.start("launch", *flags, env=env)


def start_two(workdir, *flags):
    """Two processes with two devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = ["--multihost", f"--coordinator={address}", "--process_count=2"]
    return [start(workdir, 2, *shared, f"--process_index={i}", *flags) for i in range(2)]


def finish(*processes, code=0):
    for process in processes:
        out, _ = process.communicate(timeout=300)
        assert process.returncode == code, out
    return out


def learned(workdir):
    """All arrays but the keys' biases: their gradient is zero, and Adam follows its rounding."""
    width = 8
    return [
        np.delete(array, slice(width, 2 * width)) if array.shape == (3 * width,) else array
        for array in final_state(workdir)
    ]


def losses(workdir):
    rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["loss"] for row in rows if row["split"] == "train"}


def wait_for_checkpoint(workdir, processes):
    deadline = time.monotonic() + 120
    while not any(workdir.glob("checkpoints/[0-9]*")):
        assert time.monotonic() < deadline, "nothing was saved"
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


@pytest.fixture
def two(tmp_path):
    """Starts two processes, which do not outlive the test."""
    started = []

    def run(*flags):
        started.extend(start_two(tmp_path / "run", *flags))
        return started

    yield run
    for process in started:
        process.kill()
        process.communicate()


def same(workdir, other):
    """Whether two runs logged the same losses and learned the same weights, but for rounding."""
    expected, found = losses(workdir), losses(other)
    assert expected.keys() == found.keys()
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)
    for a, b in zip(learned(workdir), learned(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


ROWS, GRID = [], ["--config.mesh.data=2", "--config.mesh.model=2"]
CASES = [
    (rule, engine, mesh)
    for rule, engine in itertools.product(("hebbian", "gradient", "none"), ENGINES)
    for mesh in (ROWS, GRID)
    # The slow weights of `none` are all that an engine would hold.
    if rule != "none" or engine == "dense"
]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rule", "engine", "mesh"),
    [
        pytest.param(
            *case,
            id=f"{case[0]}-{case[1]}-{'model' if case[2] else 'data'}",
            marks=[pytest.mark.slow] * (case != ("none", "dense", ROWS)),
        )
        for case in CASES
    ],
)
def test_two_processes_come_to_what_one_device_comes_to(two, tmp_path, rule, engine, mesh):
    flags = [f"--config.rule.name={rule}", f"--config.memory.engine={engine}"]
    flags += ["--config.memory.chunk=2"]
    finish(*two(*flags, *mesh))
    finish(start(tmp_path / "alone", 1, *flags))
    same(tmp_path / "alone", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    reference = json.loads((tmp_path / "alone" / "result.json").read_text())
    assert result["metrics"]["loss"]["mean"] == pytest.approx(
        reference["metrics"]["loss"]["mean"], rel=1e-5
    )


@pytest.mark.slow
def test_after_a_signal_any_number_of_devices_ends_as_if_nothing_had_been(two, tmp_path):
    """Two processes with two devices each, stopped; then those, one device, or four."""
    flags = ["--config.train.steps=40"]
    finish(*start_two(tmp_path / "whole", *flags))
    workdir = tmp_path / "run"
    processes = two(*flags)
    wait_for_checkpoint(workdir, processes)
    processes[0].send_signal(signal.SIGTERM)
    finish(*processes, code=128 + signal.SIGTERM)
    assert max(losses(workdir), default=0) < 40, "it had ended before the signal came"
    for name in ("two", "one", "four"):
        shutil.copytree(workdir, tmp_path / name)
    finish(*start_two(tmp_path / "two", *flags))
    finish(start(tmp_path / "one", 1, *flags))
    finish(start(tmp_path / "four", 4, *flags))
    for a, b in zip(final_state(tmp_path / "whole"), final_state(tmp_path / "two"), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("one", "four"):
        same(tmp_path / "whole", tmp_path / name)


@pytest.mark.slow
def test_sigterm_to_one_saves_on_all_and_one_device_goes_on(two, tmp_path):
    """And the run that went on elsewhere is the run that was never stopped."""
    workdir = tmp_path / "run"
    processes = two(*ENDLESS)
    wait_for_checkpoint(workdir, processes)
    processes[1].send_signal(signal.SIGTERM)
    out = finish(*processes, code=128 + signal.SIGTERM)
    assert "Traceback" not in out
    saved = max(int(path.name) for path in workdir.glob("checkpoints/[0-9]*"))
    process = start(workdir, 1, *ENDLESS)
    deadline = time.monotonic() + 120
    while max(losses(workdir), default=0) < saved + 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    finish(process, code=128 + signal.SIGTERM)
    steps = sorted(losses(workdir))
    assert steps == list(range(1, steps[-1] + 1))  # none missing, none twice


@pytest.mark.slow
def test_a_killed_peer_ends_the_others(two, tmp_path):
    workdir = tmp_path / "run"
    processes = two(*ENDLESS, "--heartbeat_timeout_seconds=5")
    wait_for_checkpoint(workdir, processes)
    processes[1].kill()
    begun = time.monotonic()
    processes[0].communicate(timeout=120)
    assert processes[0].returncode != 0
    assert time.monotonic() - begun < 90


def test_a_port_in_use_is_refused(program, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        place = ["--multihost", f"--coordinator={address}", "--process_count=2"]
        code, _, err = program("launch", *RUN, f"--workdir={tmp_path}", *place, "--process_index=0")
    assert code == 2
    assert f"--coordinator={address}: the port cannot be used: Address already in use" in err
    assert "Traceback" not in err


def test_batches_that_devices_cannot_share(program, tmp_path):
    flags = [*RUN, f"--workdir={tmp_path / 'run'}"]
    for wrong, message in (
        (["--config.mesh.data=999"], "mesh.data=999 times mesh.model=1 must be at most"),
        (["--config.mesh.data=2", "--config.train.batch=5"], "the nearest that can are 4 and 6"),
        (["--config.mesh.model=2", "--config.model.feed_forward=7"], "model.feed_forward=7 cannot"),
        (["--config.mesh.model=2", "--config.model.heads=1"], "model.heads=1 cannot"),
    ):
        code, _, err = program("launch", *flags, *wrong)
        assert code == 2
        assert message in err
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_whose_layers_are_shared_resumes(tmp_path):
    """Two seeds, four devices: bit for bit as if it had not ended, and as on one device."""
    seeds = ["--config.train.num_seeds=2"]
    finish(start(tmp_path / "whole", 4, *GRID, *seeds))
    finish(start(tmp_path / "run", 4, *GRID, *seeds, "--config.train.steps=8"))
    finish(start(tmp_path / "run", 4, *GRID, *seeds))
    for a, b in zip(final_state(tmp_path / "whole"), final_state(tmp_path / "run"), strict=True):
        np.testing.assert_array_equal(a, b)
    finish(start(tmp_path / "alone", 1, *seeds))
    ours, theirs = (
        [
            r
            for r in map(json.loads, (tmp_path / n / "metrics.jsonl").read_text().splitlines())
            if r["split"] == "train"
        ]
        for n in ("run", "alone")
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
