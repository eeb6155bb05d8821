"""Runs that are killed or asked to stop end, in the end, as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import time

import numpy as np
import pytest

from tests.launching import LONG, final_state, read, start


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A longer run that nothing interrupted: (workdir, seconds that it takes once compiled)."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("compiling", "undisturbed"):
        started = time.monotonic()
        process = start(folder / name, flags=LONG)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
    return folder / name, time.monotonic() - started


def assert_same_end(workdir, undisturbed):
    ours, theirs = read(workdir / "result.json"), read(undisturbed / "result.json")
    for key in ("metrics", "metrics_plasticity_off", "steps", "train_episodes"):
        assert ours[key] == theirs[key], key
    for a, b in zip(final_state(workdir), final_state(undisturbed), strict=True):
        np.testing.assert_array_equal(a, b)

    def logged(path):
        return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]

    assert logged(workdir) == logged(undisturbed)


@pytest.mark.slow
def test_killed_again_and_again_a_run_ends_as_if_nothing_had_happened(tmp_path, undisturbed):
    """kill -9 at random moments of the process's life, until it has completed; then bit for bit."""
    reference, seconds = undisturbed
    seed = int(os.environ.get("KILL_DRILL_SEED", time.time_ns() % 10_000))
    rng, kills, in_training, workdir = random.Random(seed), 0, 0, tmp_path / "run"
    print(f"KILL_DRILL_SEED={seed}")
    while kills < 3 or in_training < 2:
        process = start(workdir, flags=LONG)
        try:
            out, _ = process.communicate(timeout=rng.uniform(0.2, 0.9) * seconds)
            assert process.returncode == 0, out
            workdir = tmp_path / f"run{time.monotonic_ns()}"  # faster than the kill: begin anew
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            in_training += any(p.name.isdigit() for p in workdir.glob("checkpoints/*"))
    process = start(workdir, flags=LONG)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert_same_end(workdir, reference)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_first(number, code, tmp_path, undisturbed):
    workdir = tmp_path / "run"
    flags = [f for f in LONG if "checkpoint" not in f]  # only the signal saves before step 100
    process = start(workdir, "--config.log.every=1", flags=flags)
    for line in process.stdout:
        if line.startswith("step 1"):
            break
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == code, out
    assert "saved at step" in out
    assert os.listdir(workdir / "checkpoints")
    process = start(workdir, "--config.log.every=1", flags=flags)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    for a, b in zip(final_state(workdir), final_state(undisturbed[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(read(workdir / "manifest.json")["resumed"]) == 1


@pytest.mark.slow
def test_a_validation_that_a_signal_cuts_short_is_made_up_for(tmp_path, undisturbed):
    """SIGTERM arrives while step 10 is being validated; its lines are there in the end."""
    workdir = tmp_path / "run"
    slow = [f for f in LONG if "evaluate.episodes" not in f] + ["--config.evaluate.episodes=4000"]
    process = start(workdir, "--config.log.every=10", flags=slow)
    for line in process.stdout:
        if line.startswith("step 10/"):
            break
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 143, out
    assert "saved at step 10;" in out
    before = [json.loads(row) for row in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert not any(row["split"].startswith("validation") for row in before)
    process = start(workdir, "--config.log.every=10", flags=slow)
    for line in process.stdout:
        if line.startswith("step 20/"):
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    rows = [json.loads(row) for row in (workdir / "metrics.jsonl").read_text().splitlines()]
    splits = [row["split"] for row in rows if row["step"] == 10]
    assert splits == ["train", "validation", "validation_off"]
