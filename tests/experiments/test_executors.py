"""Executors start workers where they say, and come to the same results."""

import os
import re
import signal
import subprocess
import sys
import time
import types
from typing import ClassVar

import pytest

from plasticity.experiments.sweeps import executors
from plasticity.experiments.sweeps.executors import LOST, accelerators, make_executor
from plasticity.experiments.validate import ConfigError
from tests.conftest import ROOT
from tests.experiments.test_sweep import TINY, read

EXECUTORS = {
    "local": ["--workers=2"],
    "slurm": ["--workers=2", "--executor_options=cluster=local"],
    "ray": ["--workers=2", "--executor_options=cpus=1"],
}


def test_accelerators_are_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert accelerators() == ["2", "5"]
    for nothing in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert accelerators() == []


def test_a_parent_leaves_accelerators_to_its_workers(monkeypatch):
    """JAX would occupy them at the first look."""
    updates = []
    config = types.SimpleNamespace(update=lambda *update: updates.append(update))
    monkeypatch.setattr(executors, "jax", types.SimpleNamespace(config=config))
    monkeypatch.setattr(executors, "_tpus", lambda: [])
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    for visible, executor, apart in [("", "local", False), ("0", "local", True), ("", "ray", True)]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert executors.keeps_apart(executor) == apart
        assert updates == [("jax_platforms", "cpu")] * apart
        updates.clear()
    monkeypatch.setattr(executors, "_tpus", lambda: ["/dev/accel0"])
    assert executors.keeps_apart("local")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert not executors.keeps_apart("local")


def test_workers_share_what_is_there(monkeypatch, tmp_path):
    """One accelerator each; a slot is free again once its worker has ended."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
    executor = make_executor("local", 0, tmp_path, [])
    assert executor.slots == 2
    show = [sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"]
    wait([executor.start(show, tmp_path / f"{i}.log") for i in range(2)])
    printed = [(tmp_path / f"{i}.log").read_text().strip() for i in range(2)]
    assert sorted(printed) == ["3", "7"]
    wait([executor.start(show, tmp_path / "again.log")])


def wait(jobs):
    deadline = time.monotonic() + 60
    while any(job.poll() is None for job in jobs):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not any(job.poll() for job in jobs)


def test_an_interrupted_command_lets_its_worker_save(monkeypatch, tmp_path):
    """As `ray.cancel` interrupts it: by an exception in `wait`."""
    saves = "import signal, sys; signal.signal(15, lambda *a: sys.exit(print('saved')));"
    saves += "print('ready', flush=True); signal.pause()"
    wait_for, log = subprocess.Popen.wait, tmp_path / "log"

    def interrupted(worker):
        monkeypatch.setattr(subprocess.Popen, "wait", wait_for)
        while "ready" not in log.read_text():
            time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        executors.run_command([sys.executable, "-c", saves], str(log), str(tmp_path))
    assert log.read_text().split() == ["ready", "saved"]


def test_a_job_of_a_cluster_that_died_is_lost(monkeypatch, tmp_path):
    """Options reach submitit, numbers as numbers; its errors about jobs do not end a sweep."""

    class FakeJob:
        outcomes: ClassVar = [None, RuntimeError("node failed"), 3]

        def done(self):
            return self.outcomes[0] is not None or self.outcomes.pop(0)

        def result(self):
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        def cancel(self):
            pass

    class FakeExecutor:
        def __init__(self, folder, cluster):
            assert (folder, cluster) == (f"{tmp_path}/submitit", "local")

        def update_parameters(self, **options):
            if "gpu" in options:
                raise NameError("gpu is unknown")
            assert options == {"timeout_min": 5}

        def submit(self, function, *args):
            return FakeJob()

    fake = types.SimpleNamespace(AutoExecutor=FakeExecutor)
    monkeypatch.setitem(sys.modules, "submitit", fake)
    executor = make_executor("slurm", 3, tmp_path, ["cluster=local", "timeout_min=5"])
    assert executor.slots == 3
    job = executor.start(["x"], tmp_path / "log")
    assert [job.poll() for _ in range(3)] == [None, LOST, 3]
    with pytest.raises(ConfigError, match=r"--executor=slurm .*gpu=1: gpu is unknown"):
        make_executor("slurm", 3, tmp_path, ["cluster=local", "gpu=1"])


@pytest.mark.slow
@pytest.mark.parametrize("name", EXECUTORS)
def test_24_points_survive_killed_workers(name, tmp_path):
    """Workers are killed twice, and all points come to what they come to undisturbed."""
    pytest.importorskip({"slurm": "submitit"}.get(name, "ray" if name == "ray" else "sys"))
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    sweep = ["-m", "experiments.sweep", *TINY, "--sweep_over=config.seed=0:24"]
    sweep += ["--config.rule.name=none", "--config.train.steps=60"]
    subprocess.run(
        [sys.executable, *sweep, f"--workdir={calm}"], cwd=ROOT, check=True, capture_output=True
    )
    command = [sys.executable, "-u", *sweep, f"--workdir={stormy}", f"--executor={name}"]
    process = subprocess.Popen(
        [*command, *EXECUTORS[name]], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    for complete in (2, 8):
        deadline = time.monotonic() + 300
        while len(list(stormy.glob("*/result.json"))) < complete:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        kill_a_worker(stormy)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    assert "24 of 24 points complete" in out
    results = [read(folder / "results.csv") for folder in (calm, stormy)]
    assert len(results[0]) == 24
    # Workers may have other numbers of devices, which round differently.
    for expected, found in zip(*results, strict=True):
        assert found["seed"] == expected["seed"]
        assert float(found["query_mse"]) == pytest.approx(float(expected["query_mse"]), rel=1e-4)
    logs = "".join(path.read_text() for path in (stormy / "logs").glob("*.log"))
    finished = re.findall(r"result: (\S+)", logs)
    assert len(finished) == len(set(finished)) == 24  # none twice


def kill_a_worker(folder):
    listed = subprocess.run(
        ["pgrep", "-f", f"workdir={folder}.*--only="], capture_output=True, text=True, check=True
    )
    os.kill(int(listed.stdout.split()[0]), signal.SIGKILL)
