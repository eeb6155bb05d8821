"""What may happen to the folder of a run: the next launch resumes, or says why not.

Each failure befalls a run that was stopped after 4 of 8 steps. It has checkpoints of the steps 2
and 4. Nothing is ever lost.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.experiments.run.checkpoint import Checkpoints
from plasticity.experiments.run.evaluate import evaluate, evaluated_elsewhere
from plasticity.experiments.run.storage import CheckpointError, DamagedFileError, WorkdirError
from plasticity.experiments.run.train import train
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError
from tests.experiments.wrong_uses.runs import write
from tests.launching import assert_same_state, contents, read, rows, tiny_config
from tests.sample import sampled

# Orbax's other reads of a damaged checkpoint end later. The programs do not show them either.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
EVERY = {"checkpoint.every": 2, "evaluate.every": 0, "log.every": 1}
STOPPED, WHOLE = tiny_config(train__steps=4, **EVERY), tiny_config(train__steps=8, **EVERY)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of runs of 4 steps and of 8, and of one that was stopped after 4 of 8."""
    folder = tmp_path_factory.mktemp("runs")
    assert train(STOPPED, str(folder / "four")) == 0
    assert train(WHOLE, str(folder / "eight")) == 0
    shutil.copytree(folder / "four", folder / "stopped")
    (folder / "stopped" / "result.json").unlink()
    edit(folder / "stopped" / "config.json", lambda config: config["train"].update(steps=8))
    return folder


def assert_same_result(ours, theirs):
    ours, theirs = read(ours / "result.json"), read(theirs / "result.json")
    for key in ("steps", "train_episodes", "metrics", "metrics_plasticity_off"):
        assert ours[key] == theirs[key], key


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def append(name, text):
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


def change(name, function):
    return lambda folder: edit(folder / name, function)


def remove(*names):
    def damage(folder):
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def halve(*steps):
    """Cuts every file of checkpoints in half, as a machine that goes down may."""

    def damage(folder):
        for step in steps:
            for path in (folder / "checkpoints" / step).rglob("*"):
                if path.is_file():
                    os.truncate(path, path.stat().st_size // 2)

    return damage


def flip(folder):
    """One bit in the middle of every file of arrays of the newest checkpoint."""
    for path in (folder / "checkpoints" / "4" / "state").glob("**/d/*"):
        flip_one(path)


def flip_one(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def initial_only(folder):
    """As if all checkpoints but that of step 0 had been removed."""
    (folder / "checkpoints" / "2").rename(folder / "checkpoints" / "0")
    shutil.rmtree(folder / "checkpoints" / "4")
    append("metrics.jsonl", '{"step": 5, "split": "train"}\n')(folder)


def of_another_net(folder):
    """The checkpoints of a wider net."""
    state = {"params": {"w": jnp.zeros((3, 5))}}
    shutil.rmtree(folder / "checkpoints")
    other = Checkpoints(folder / "checkpoints", 2)
    other.save(4, state, {})
    other.close()


class Refused(NamedTuple):
    """After `damage` a launch ends with a message that matches `says`, and changes nothing."""

    damage: Callable[[pathlib.Path], object]
    says: str
    error: type[Exception] = WorkdirError


REFUSED = {
    "config empty": Refused(write("config.json", ""), "config.json is empty"),
    "config of NULs": Refused(write("config.json", "\0" * 300), "config.json is not JSON"),
    "config cut": Refused(write("config.json", '{"seed": 0, "ru'), "config.json is not JSON"),
    "config null": Refused(write("config.json", "null"), "config.json holds no JSON object"),
    "config a list": Refused(write("config.json", "[1]"), r"no JSON object, but \[1\]"),
    "config without a section": Refused(write("config.json", "{}"), "config.json has no field"),
    "config a folder": Refused(write("config.json", None), "config.json cannot be read: Is a dir"),
    "config no UTF-8": Refused(write("config.json", b"\xff\xfe{}"), "config.json is not UTF-8"),
    "config of an unknown rule": Refused(
        change("config.json", lambda c: c["rule"].update(name="hebian")), "name='hebian' is unkn"
    ),
    "config of an unknown model": Refused(
        change("config.json", lambda c: c["model"].update(name="gpt")), "model.name='gpt' is unkn"
    ),
    "config with a section of another type": Refused(
        change("config.json", lambda c: c.update(mesh=3)), "config.json holds no config of a run"
    ),
    "config with steps in words": Refused(
        change("config.json", lambda c: c["train"].update(steps="8")), "train.steps='8' has the wr"
    ),
    "config gone": Refused(remove("config.json"), "checkpoints, manifest.json, metrics.jsonl. Ch"),
    "manifest empty": Refused(write("manifest.json", ""), "manifest.json is empty"),
    "manifest cut": Refused(write("manifest.json", '{"started": "20'), "manifest.json is not JSON"),
    "manifest of another type": Refused(
        change("manifest.json", lambda m: m.update(resumed="no")), "manifest.json: resumed='no'"
    ),
    "manifest a folder": Refused(write("manifest.json", None), "manifest.json cannot be read"),
    "metrics of null": Refused(append("metrics.jsonl", "null\n"), "metrics.jsonl, line 5 holds no"),
    "metrics of another type": Refused(
        append("metrics.jsonl", '{"step": "2", "split": "train"}\n'), "line 5: step='2' has the wr"
    ),
    "metrics of garbage": Refused(append("metrics.jsonl", "garb\n"), "line 5 is not"),
    "metrics a folder": Refused(write("metrics.jsonl", None), "metrics.jsonl cannot be read"),
    "metrics no UTF-8": Refused(write("metrics.jsonl", b"\xff\n"), "metrics.jsonl is not UTF-8"),
    "result empty": Refused(write("result.json", ""), "result.json is empty"),
    "result of garbage": Refused(write("result.json", "garbage"), "result.json is not JSON"),
    "result without metrics": Refused(write("result.json", "{}"), "result.json has no field"),
    "result a folder": Refused(write("result.json", None), "result.json cannot be read: Is a dir"),
    "checkpoints gone": Refused(remove("checkpoints"), "metrics.jsonl, but its checkpoints"),
    "every checkpoint gone": Refused(
        remove("checkpoints/2", "checkpoints/4"), "would start again from step 0"
    ),
    "all but the initial state gone": Refused(initial_only, "holds metrics of step 5, but its"),
    "checkpoints set aside by hand": Refused(
        lambda folder: (folder / "checkpoints").rename(folder / "checkpoints-damaged"),
        "holds checkpoints-damaged, metrics.jsonl, but",
    ),
    "checkpoints a file": Refused(
        lambda folder: (remove("checkpoints")(folder), write("checkpoints", "x")(folder)),
        "checkpoints is a file, but must be a folder",
    ),
    "every checkpoint damaged": Refused(
        halve("2", "4"), "no checkpoint in .*, and nothing was moved. 4: .*; 2: ", CheckpointError
    ),
    "a named pipe for a checkpoint": Refused(
        lambda folder: os.mkfifo(folder / "checkpoints" / "6"), "checkpoints/6 is no part of a ch"
    ),
    "a named pipe in a checkpoint": Refused(
        lambda folder: (
            remove("checkpoints/4/clock/metadata")(folder),
            os.mkfifo(folder / "checkpoints/4/clock/metadata"),
        ),
        "checkpoints/4/clock/metadata is no part of a checkpoint",
    ),
    "a file for a checkpoint": Refused(write("checkpoints/6", "mine"), "checkpoints/6 is no part"),
    "a link for a checkpoint": Refused(
        lambda folder: (folder / "checkpoints" / "6").symlink_to("4"), "checkpoints/6 is no part"
    ),
    "a device for a file": Refused(
        lambda folder: (
            remove("manifest.json")(folder),
            (folder / "manifest.json").symlink_to("/dev/zero"),
        ),
        "manifest.json cannot be read: it is not a regular file",
    ),
    "a link that leads nowhere": Refused(
        lambda folder: (
            remove("metrics.jsonl")(folder),
            (folder / "metrics.jsonl").symlink_to("/unmounted/metrics.jsonl"),
        ),
        "metrics.jsonl cannot be read: No such file",
    ),
    "the lock a named pipe": Refused(
        lambda folder: (remove(".lock")(folder), os.mkfifo(folder / ".lock")), "cannot be locked"
    ),
    "a checkpoint with the name of another": Refused(
        lambda folder: shutil.copytree(folder / "checkpoints/4", folder / "checkpoints/8"),
        "checkpoints/8 is the state of step 4",
    ),
    "checkpoints of another net": Refused(
        of_another_net, r"4 does not fit this run: \S+ is .*, but must be .*Nothing was moved"
    ),
}
RESUMED = {
    "nothing": lambda folder: None,
    "the last row cut": append("metrics.jsonl", '{"step": 5, "spl'),
    "NULs after the last row": append("metrics.jsonl", "\0" * 20),
    "manifest gone": remove("manifest.json"),
    "a save cut": lambda folder: (folder / "checkpoints" / "6.orbax-checkpoint-tmp").mkdir(),
    "a folder without its arrays": lambda folder: (folder / "checkpoints" / "6").mkdir(),
    "a folder with almost the name of one": lambda f: (f / "checkpoints" / "step_6").mkdir(),
    "strange files beside": write("notes.txt", "mine"),
    "strange files among checkpoints": write("checkpoints/notes.txt", "mine"),
    "the newest checkpoint gone": remove("checkpoints/4"),
    "the newest checkpoint cut": halve("4"),
    "the newest checkpoint emptied": lambda folder: [
        path.unlink() for path in (folder / "checkpoints" / "4").rglob("*") if path.is_file()
    ],
    "the clock of the newest checkpoint null": write("checkpoints/4/clock/metadata", "null"),
    "the clock of the newest checkpoint in words": write(
        "checkpoints/4/clock/metadata", '{"wall_seconds": "x"}'
    ),
    "bits of the newest checkpoint": flip,
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_message_and_nothing_is_changed(name, runs, tmp_path):
    folder, case = tmp_path / "run", REFUSED[name]
    shutil.copytree(runs / "stopped", folder)
    case.damage(folder)
    before = contents(folder)
    with pytest.raises(case.error, match=case.says):
        train(WHOLE, str(folder))
    after = contents(folder)
    if before["manifest.json"] != after["manifest.json"]:  # a launch that came as far is recorded
        late = ("checkpoints of another net", "every checkpoint damaged", "a checkpoint with the")
        assert name.startswith(late)
        after["manifest.json"] = before["manifest.json"]
    assert after == before


# By default what a crash or a full disk leaves behind.
LIKELY = ("the last row cut", "a save cut", "the newest checkpoint cut")


@pytest.mark.parametrize("name", sampled(RESUMED, lambda name: name in LIKELY, "thorough"))
def test_resumed_a_run_ends_as_if_nothing_had_happened(name, runs, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(runs / "stopped", folder)
    RESUMED[name](folder)
    before = contents(folder)
    assert train(WHOLE, str(folder)) == 0
    assert_same_state(folder, runs / "eight")
    assert (
        read(folder / "result.json")["metrics"] == read(runs / "eight" / "result.json")["metrics"]
    )
    assert rows(folder) == rows(runs / "eight")
    damaged = {key: value for key, value in before.items() if key.startswith("checkpoints/4/")}
    if name.startswith(("bits of", "the clock")) or name == "the newest checkpoint cut":
        assert "checkpoint 4 cannot be read" in capsys.readouterr().err
        moved = contents(folder / "checkpoints-damaged" / "4-0")
        assert moved == {key.removeprefix("checkpoints/4/"): v for key, v in damaged.items()}
    for kept in ("notes.txt", "checkpoints/notes.txt"):
        assert contents(folder).get(kept) == before.get(kept)


ERRORS = [PermissionError(13, "Permission denied"), TimeoutError("slow")]


@pytest.mark.parametrize("error", sampled(ERRORS, lambda error: error is ERRORS[0]))
def test_a_storage_error_moves_nothing(error, runs, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(runs / "stopped", folder)
    before = contents(folder)

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("orbax.checkpoint.CheckpointManager.restore", fail)
        with pytest.raises(CheckpointError, match=f"{error.args[-1]}.*Nothing was moved"):
            train(WHOLE, str(folder))
    assert (
        contents(folder)["checkpoints/4/state/_METADATA"] == before["checkpoints/4/state/_METADATA"]
    )
    assert contents(folder)["metrics.jsonl"] == before["metrics.jsonl"]
    assert train(WHOLE, str(folder)) == 0  # once it has passed
    assert_same_state(folder, runs / "eight")


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(runs, tmp_path):
    """Only the initial state was saved, and rows of steps that no checkpoint covers."""
    folder = tmp_path / "run"
    config = tiny_config(train__steps=8, **EVERY | {"checkpoint.every": 100})

    def stop(self, *args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plasticity.experiments.run.runs.Runs.save", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, str(folder))
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["0"]
    assert rows(folder)[-1]["step"] == 8
    assert train(config, str(folder)) == 0
    assert_same_state(folder, runs / "eight")
    assert rows(folder) == rows(runs / "eight")
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["8"]


def test_the_checksum_finds_values_that_changed(tmp_path, capsys):
    """Orbax reads them without an error: it has no checksum of large arrays."""
    values = jax.random.normal(jax.random.key(0), (2, 100, 100))
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    for step in (3, 4):
        checkpoints.save(step, {"w": values[step - 3]}, {"wall_seconds": 1.0})
    checkpoints.close()
    files = (tmp_path / "checkpoints" / "4" / "state").glob("**/d/*")
    flip_one(max(files, key=lambda path: path.stat().st_size))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    for keep in (None, 2):
        checkpoints = Checkpoints(tmp_path / "checkpoints", keep)
        state, clock = checkpoints.restore({"w": values[0]}, {"w": here})
        checkpoints.close()
        np.testing.assert_array_equal(state["w"], values[0])
        assert clock == {"wall_seconds": 1.0}
        assert "the checksum of its arrays" in capsys.readouterr().err
        assert (tmp_path / "checkpoints-damaged").exists() == (keep is not None)


def test_the_initial_state_does_not_replace_a_damaged_checkpoint(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs / "stopped", folder)
    (folder / "checkpoints" / "2").rename(folder / "checkpoints" / "0")
    halve("4")(folder)
    before = contents(folder / "checkpoints")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        train(WHOLE, str(folder))
    assert contents(folder / "checkpoints") == before


@pytest.mark.parametrize("name", [n for n in REFUSED if n.startswith("result")])
def test_a_damaged_result_is_not_a_complete_run(name, runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs / "eight", folder)
    REFUSED[name].damage(folder)
    with pytest.raises(DamagedFileError, match=REFUSED[name].says):
        Workdir(str(folder)).result_steps()


def test_more_steps_extend_a_run_bit_for_bit(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs / "four", folder)
    assert Workdir(str(folder)).result_steps() == 4
    assert train(WHOLE, str(folder)) == 0
    assert_same_state(folder, runs / "eight")
    assert rows(folder) == rows(runs / "eight")
    assert read(folder / "config.json") == read(runs / "eight" / "config.json")
    assert read(folder / "result-4.json") == read(runs / "four" / "result.json")
    assert_same_result(folder, runs / "eight")
    manifest = read(folder / "manifest.json")
    assert [manifest["steps"], manifest["resumed"][0]["steps"]] == [4, 8]
    before = contents(folder)
    with pytest.raises(WorkdirError, match=r"train.steps=4 is less than the 8 steps"):
        train(STOPPED, str(folder))
    assert contents(folder) == before


@pytest.mark.slow  # bit for bit: the test above
def test_an_extended_run_has_the_rows_of_a_longer_one(runs, tmp_path):
    """The row of the last step of the shorter run is dropped: the longer one logs every other."""
    folder = tmp_path / "run"
    logged = EVERY | {"log.every": 2}
    assert train(tiny_config(train__steps=5, **logged), str(folder)) == 0
    assert [row["step"] for row in rows(folder)] == [2, 4, 5]
    assert train(tiny_config(train__steps=8, **logged), str(folder)) == 0
    assert_same_state(folder, runs / "eight")
    assert rows(folder) == [row for row in rows(runs / "eight") if row["step"] % 2 == 0]


def test_rows_that_are_gone_are_reported(runs, tmp_path, capsys):
    shutil.copytree(runs / "stopped", tmp_path, dirs_exist_ok=True)
    write("metrics.jsonl", "")(tmp_path)
    Workdir(str(tmp_path)).open(WHOLE)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("metrics.jsonl lacks the rows after step 0 up to 4")


def test_a_result_of_the_first_versions_is_of_the_steps_in_config_json(runs, tmp_path):
    shutil.copytree(runs / "four", tmp_path, dirs_exist_ok=True)
    change("result.json", lambda r: [r.pop(field) for field in ("steps", "main_metric")])(tmp_path)
    assert Workdir(str(tmp_path)).result_steps() == 4
    Workdir(str(tmp_path)).open(WHOLE)
    assert (tmp_path / "result-4.json").exists()


def test_the_row_of_a_divergence_stays_in_an_extended_run(runs, tmp_path):
    shutil.copytree(runs / "stopped", tmp_path, dirs_exist_ok=True)
    change("config.json", lambda config: config["train"].update(steps=4))(tmp_path)
    change("config.json", lambda config: config["log"].update(every=3))(tmp_path)
    diverged = '{"step": 4, "split": "train", "loss": null}\n'
    write("metrics.jsonl", diverged)(tmp_path)
    Workdir(str(tmp_path)).open(tiny_config(train__steps=8, **EVERY | {"log.every": 3}))
    assert (tmp_path / "metrics.jsonl").read_text() == diverged


def test_steps_may_change_only_where_the_past_stays_the_same(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs / "stopped", folder)
    change("config.json", lambda config: config["train"].update(schedule="cosine"))(folder)
    cosine = tiny_config(train__steps=12, train__schedule="cosine", **EVERY)
    with pytest.raises(WorkdirError, match=r"cannot extend .*train.schedule='cosine'"):
        Workdir(str(folder)).open(cosine)
    shutil.rmtree(folder)
    shutil.copytree(runs / "stopped", folder)
    Workdir(str(folder)).open(tiny_config(train__steps=5, **EVERY))  # fewer, but not done yet
    assert read(folder / "config.json")["train"]["steps"] == 5
    with pytest.raises(WorkdirError, match=r"train.batch: there 2, here 4"):
        Workdir(str(folder)).open(tiny_config(train__steps=9, train__batch=4, **EVERY))


@pytest.mark.parametrize(
    "name", ["lost+found/", "slurm-123.out", ".DS_Store", ".nfs0001", "train.log", "._config.json"]
)
def test_harmless_files_may_be_there_before(name, tmp_path):
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.write_text("")
    Workdir(str(tmp_path)).open(WHOLE)
    assert read(tmp_path / "config.json")["train"]["steps"] == 8


def test_a_place_where_no_folder_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place, says in {
        "file": "file is a file, not a folder",
        "file/run": "file is a file, not a folder",
        "link": "link is a link to .*nowhere, which does not exist",
        "link/run": "link is a link to",
    }.items():
        with pytest.raises(WorkdirError, match=f"cannot be written: .*{says}"):
            train(WHOLE, str(tmp_path / place))
    for path, says in (("~nobody-of-that-name/run", "--workdir=~nobody"), ("a" * 300, "too long")):
        with pytest.raises(ConfigError, match=says):
            train(WHOLE, path)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_a_folder_of_other_things_gets_no_lock(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(WorkdirError, match=r"not a run's: thesis\.tex"):
        train(WHOLE, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_damage_is_reported_by_evaluations_too_and_they_move_nothing(runs, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(runs / "four", folder)
    (folder / "evaluation-4.json").write_text("null")
    halve("4")(folder)
    before = contents(folder)
    report = evaluated_elsewhere(Workdir(str(folder)), {"rule.eta0": 0.1})
    assert report["step"] == 2
    err = capsys.readouterr().err
    assert "evaluation-4.json holds no JSON object" in err
    assert "checkpoint 4 cannot be read" in err
    assert contents(folder).items() >= before.items()
    for name in ("config empty", "config of an unknown model", "checkpoints a file"):
        REFUSED[name].damage(folder)
        with pytest.raises(WorkdirError, match=REFUSED[name].says):
            evaluate(STOPPED, str(folder))
        shutil.copyfile(runs / "four" / "config.json", folder / "config.json")


def test_an_evaluation_is_found_again_though_it_repeats_a_setting(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs / "four", folder)
    other = {"rule.eta0": 0.1, "task.delay": read(folder / "config.json")["task"]["delay"]}
    report = evaluated_elsewhere(Workdir(str(folder)), other)
    assert report["changed"] == {"rule.eta0": 0.1}
    before = contents(folder)
    assert evaluated_elsewhere(Workdir(str(folder)), other) == report
    assert contents(folder) == before


def test_evaluating_a_config_that_is_no_longer_valid_names_its_file(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs / "four", folder)
    change("config.json", lambda config: config["train"].update(batch=-1))(folder)
    with pytest.raises(DamagedFileError, match=r"config.json: train.batch=-1 must be at least 1"):
        evaluate(STOPPED, str(folder))


JUNK = (b"", b"\0" * 50, b"null", b"[]", b"3", b'{"step": 1}', b"\xff\xfe\xfd", b"{" * 10_000)


def damage_at_random(folder, rng):
    """Damages a file or a folder of a run: in three of five cases one directly in its folder."""
    paths = sorted(path for path in folder.rglob("*") if path.name != ".lock")
    top = [path for path in paths if path.parent == folder]
    path = rng.choice(top if rng.random() < 0.6 else [p for p in paths if p.is_file()] or top)
    if path.is_dir() or rng.random() < 0.1:
        remove(path.relative_to(folder))(folder)
        return
    content = bytearray(path.read_bytes())
    kind = rng.choice(["junk", "cut", "flip", "folder", "append", "value"])
    if kind == "flip" and content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "value":  # a number or a word of a JSON file becomes another value
        found = list(re.finditer(rb"-?\d+(\.\d+)?|\"[^\"]*\"|true|false|null", content))
        if found:
            start, end = rng.choice(found).span()
            content[start:end] = rng.choice(
                [b"null", b'"x"', b"-1", b"NaN", b"[]", b"{}", b"1e999"]
            )
    elif kind == "cut":
        content = content[: rng.randrange(len(content) + 1)]
    elif kind == "append":
        content += rng.choice(JUNK) + b"\n"
    elif kind == "junk":
        content = rng.choice(JUNK)
    write(path.relative_to(folder), None if kind == "folder" else bytes(content))(folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(int(os.environ.get("DAMAGED_RUNS", "100"))))
def test_random_damage_leads_to_a_message_or_to_the_right_result(seed, runs, tmp_path):
    rng, folder = random.Random(seed), tmp_path / "run"
    shutil.copytree(runs / rng.choice(["stopped", "four", "eight"]), folder)
    for _ in range(rng.randint(1, 2)):
        damage_at_random(folder, rng)
    before = contents(folder)
    try:
        code = train(WHOLE, str(folder))
    except (WorkdirError, ConfigError, CheckpointError):
        after = contents(folder)
        lost = [name for name in before if name not in after]
        assert all(name == "result.json" and "result-4.json" in after for name in lost), lost
        return
    assert code == 0
    if before.get("result.json") != contents(folder)["result.json"]:
        assert_same_state(folder, runs / "eight")
        assert_same_result(folder, runs / "eight")
        with contextlib.suppress(WorkdirError):
            evaluate(WHOLE, str(folder))
