"""Runs whose workdir is in a bucket, by the protocol of Google Cloud Storage."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.buckets import Buckets
from tests.conftest import ROOT
from tests.experiments.test_multihost import ENDLESS, RUN, finish, same, start, start_two
from tests.launching import final_state

pytest.importorskip("gcsfs", reason="pip install -e '.[gcs]'")
WORKDIR = "gs://bucket/some/run"


@pytest.fixture
def buckets(monkeypatch):
    with Buckets() as there:
        for name, value in there.environment.items():
            monkeypatch.setenv(name, value)
        yield there


def download(buckets, folder, prefix="bucket/some/run/"):
    """The objects below a prefix, as files."""
    for key, data in list(buckets.objects.items()):
        if key.startswith(prefix):
            path = folder / key.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


def lines(buckets):
    text = buckets.objects["bucket/some/run/metrics.jsonl"].decode()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_a_run_in_a_bucket_is_the_run_in_a_folder(buckets, tmp_path):
    out = finish(start(WORKDIR, 1))
    assert f"result: {WORKDIR}/result.json" in out
    finish(start(tmp_path / "folder", 1))
    copy = download(buckets, tmp_path / "copy")
    assert (copy / "metrics.jsonl").read_text() == (tmp_path / "folder/metrics.jsonl").read_text()
    for a, b in zip(final_state(copy), final_state(tmp_path / "folder"), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(list(copy.glob("checkpoints/*"))) == 2  # checkpoint.keep
    written = dict(buckets.objects)
    assert "another config" in finish(start(WORKDIR, 1, "--config.seed=5"), code=2)
    assert buckets.objects == written


@pytest.mark.slow
def test_a_stopped_run_goes_on_without_losing_or_repeating_a_line(buckets, tmp_path):
    process = start(WORKDIR, 1, *ENDLESS)
    deadline = time.monotonic() + 120
    while not any("commit_success" in key for key in buckets.objects):
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    finish(process, code=128 + signal.SIGTERM)
    saved = len(lines(buckets))
    process = start(WORKDIR, 1, *ENDLESS)
    while len(lines(buckets)) < saved + 100:  # it is written with the next checkpoint
        assert time.monotonic() < deadline + 120, process.poll()
        time.sleep(0.05)
    process.kill()
    finish(process, code=-signal.SIGKILL)
    assert [line["step"] for line in lines(buckets)] == list(range(1, len(lines(buckets)) + 1))


@pytest.mark.slow
def test_a_damaged_checkpoint_in_a_bucket_is_moved_and_the_one_before_taken(buckets, tmp_path):
    finish(start(WORKDIR, 1))
    result = json.loads(buckets.objects.pop("bucket/some/run/result.json"))
    for key, data in list(buckets.objects.items()):
        if key.startswith("bucket/some/run/checkpoints/12/"):
            buckets.put(key, data[: len(data) // 2])
    assert "checkpoint 12 cannot be read" in finish(start(WORKDIR, 1))
    again = json.loads(buckets.objects["bucket/some/run/result.json"])
    assert again["metrics"] == result["metrics"]
    assert any(key.startswith("bucket/some/run/checkpoints-damaged/12") for key in buckets.objects)


def test_what_is_in_a_bucket_and_not_a_run_is_left_alone(buckets):
    buckets.put("bucket/some/run/mine.txt", b"mine")
    assert "not a run's: mine.txt" in finish(start(WORKDIR, 1), code=2)
    assert list(buckets.objects) == ["bucket/some/run/mine.txt"]


@pytest.mark.slow
def test_two_processes_share_a_bucket(buckets, tmp_path):
    finish(*start_two(WORKDIR))
    finish(start(tmp_path / "alone", 1))
    same(tmp_path / "alone", download(buckets, tmp_path / "copy"))


@pytest.mark.slow
def test_a_sweep_in_a_bucket_repeats_nothing(buckets, tmp_path):
    flags = [RUN[0].replace("configs", f"{ROOT}/configs"), *RUN[1:]]
    flags += ["--sweep_over=config.seed=0:2", "--workdir=gs://bucket/sweep"]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "experiments.sweep", *flags],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert "2 of 2 points are complete" in done.stdout
    assert buckets.objects["bucket/sweep/results.csv"].count(b"\n") == 3
    assert (tmp_path / "sweep-logs").is_dir()


@pytest.mark.parametrize(
    ("workdir", "message"),
    [
        ("s3://bucket/run", "must be a local folder or gs://BUCKET/FOLDER"),
        ("gs://", "must be a local folder or gs://BUCKET/FOLDER"),
    ],
)
def test_other_places_are_refused(workdir, message):
    assert message in finish(start(workdir, 1), code=2)
