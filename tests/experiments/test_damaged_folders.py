"""Randomly damaged folders of runs, through the programs that read them.

Every program ends with a message or a right result, and no file of a user is lost.
DAMAGED_FOLDERS: how many folders, ten to a sweep.
"""

import os
import random
import shutil

import pytest

from tests import programs
from tests.experiments.test_failures import contents, damage_at_random
from tests.launching import TINY, read

POINTS = 10
SWEEP = ["--config=configs/copying.py:hebbian", *TINY, "--config.train.steps=4"]
SWEEP += ["--config.checkpoint.every=2", "--config.evaluate.every=2", "--config.log.every=2"]
OVER = [f"--sweep_over=config.seed=0:{POINTS}", "--retries=0"]
# Files that a program may replace: it writes them anew from others, or adds to them.
DERIVED = ("results.csv", "seeds.csv", "manifest.json", "metrics.jsonl", ".lock")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished sweep with an analysis of every run."""
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    out = folder.with_name("printed")
    run = programs.start("sweep", *SWEEP, *OVER, f"--workdir={folder}", out=out)
    assert run.wait(600) == 0, out.read_text()
    for workdir in folder.glob("seed=*"):
        run = programs.start("analysis", f"--run={workdir}", out=out)
        assert run.wait(600) == 0, out.read_text()
    return folder


def is_kept(path, content, after):
    """Whether the content of a file is still there, in its place or under another name."""
    if path.rpartition("/")[2] in DERIVED or "checkpoints" in path:  # newer ones replace older ones
        return True
    if path.startswith("logs/"):
        return after[path].startswith(content)
    return after.get(path) == content or content in after.values()


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(int(os.environ.get("DAMAGED_FOLDERS", "20")) // POINTS))
def test_a_damaged_folder_is_a_message_or_a_right_result(round_, finished, program, tmp_path):
    rng, folder = random.Random(round_), tmp_path / "sweep"
    shutil.copytree(finished, folder)
    workdirs = sorted(folder.glob("seed=*"))
    for workdir in workdirs:
        if rng.random() < 0.5:  # as if the run had been killed before its end
            (workdir / "result.json").unlink()
        for _ in range(rng.randint(1, 2)):
            damage_at_random(workdir, rng)
    before = contents(folder)

    def run(name, *args):
        code, out, err = program(name, *args, timeout=120)
        printed = f"{name} {args}\n{out}\n{err}"
        assert code in (0, 1, 2), printed
        assert "Traceback" not in printed
        assert "unexpected" not in err, printed
        assert code == 0 or "error: " in err, printed
        return code

    run("report", f"--runs={folder}", f"--out={tmp_path}/report.html")
    codes = []
    for seed, workdir in enumerate(workdirs):
        result = workdir / "result.json"
        old = result.read_bytes() if result.is_file() else None
        run("analysis", f"--run={workdir}")
        codes.append(run("launch", *SWEEP, f"--config.seed={seed}", f"--workdir={workdir}"))
        if codes[-1] == 0 and result.read_bytes() != old:  # made again
            reference = read(finished / workdir.name / "result.json")
            assert read(result)["metrics"] == reference["metrics"]
    print(f"launch: {codes.count(0)} complete, {POINTS - codes.count(0)} messages")
    run("sweep", *SWEEP, *OVER, f"--workdir={folder}")
    after = contents(folder)
    lost = [path for path, content in before.items() if not is_kept(path, content, after)]
    assert not lost
