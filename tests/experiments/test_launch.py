"""The launcher, as its users see it: files, messages, exit codes."""

import json
import re
import runpy
import shutil

import numpy as np
import pytest

from plasticity.checks import PlasticityError
from plasticity.experiments.run.train import train
from plasticity.experiments.run.workdir import Workdir, WorkdirError
from tests.conftest import ROOT
from tests.launching import arguments, final_state, read, start, tiny_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, which no test may change: (workdir, what it printed)."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    process = start(workdir)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return workdir, out


def test_a_run_leaves_the_files_that_scripts_rely_on(finished):
    workdir, _ = finished
    names = {p.name for p in workdir.iterdir()} - {".lock"}
    assert names == {
        "config.json", "manifest.json", "metrics.jsonl", "checkpoints", "result.json"
    }  # fmt: skip
    config, manifest, result = (
        read(workdir / f"{n}.json") for n in ("config", "manifest", "result")
    )
    assert config["train"]["steps"] == 6
    assert config["rule"]["name"] == "hebbian"
    assert manifest["seed"] == 0
    assert manifest["versions"]["jax"]
    assert manifest["device"]
    assert "--config=configs/copying.py:hebbian" in manifest["argv"]
    assert {
        k: result[k] for k in ("status", "task", "rule", "seed", "steps", "train_episodes")
    } == {
        "status": "complete",
        "task": "copying",
        "rule": "hebbian",
        "seed": 0,
        "steps": 6,
        "train_episodes": 12,
    }
    for key in ("wall_seconds", "compile_seconds", "episodes_per_second"):
        assert result[key] > 0
    expected = {
        "loss", "recall_accuracy", "paper_recall_accuracy", "eta_mean", "write_norm", "fast_norm"
    }  # fmt: skip
    for metrics in (result["metrics"], result["metrics_plasticity_off"]):
        assert metrics.keys() == expected
        assert all(m["n"] == 10 and m["ci95"] >= 0 for m in metrics.values())
    assert result["metrics"]["fast_norm"]["mean"] > 0
    assert result["metrics_plasticity_off"]["fast_norm"]["mean"] == 0


def test_metrics_are_one_object_a_line(finished):
    lines = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    steps = [(line["step"], line["split"]) for line in lines]
    assert steps == [
        (2, "train"), (4, "train"), (4, "validation"), (4, "validation_off"), (6, "train")
    ]  # fmt: skip
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert all(line["grad_alpha"] > 0 for line in lines if line["split"] == "train")


def test_the_effect_of_plasticity_and_the_baseline_are_printed(finished):
    out = finished[1]
    assert "with plasticity on" in out
    assert "off (same net, same 10 episodes)" in out
    command = (
        r"static baseline: \S*python\S* -m experiments.launch --config=configs/copying.py:none "
    )
    assert re.search(command + r"--workdir=\S*-none .*--config.train.steps=6", out)


def test_a_finished_run_is_left_alone(finished, program):
    workdir, _ = finished
    before = {p: p.stat().st_mtime_ns for p in workdir.iterdir() if p.name != ".lock"}
    code, out, _ = program("launch", *arguments(workdir))
    assert code == 0
    assert "is complete" in out
    assert before == {p: p.stat().st_mtime_ns for p in workdir.iterdir() if p.name != ".lock"}


def test_the_example_opens_a_finished_run(finished):
    example = runpy.run_path(str(ROOT / "examples" / "open_a_run.py"))["main"]
    traces, fast = example(str(finished[0]))
    assert set(fast) == {"block_0/fc1", "block_0/fc2"}
    assert all(np.asarray(layer.weight).any() for layer in fast.values())
    assert np.abs(traces["on"].outputs.task - traces["off"].outputs.task).max() > 0


def test_another_config_is_refused_with_the_fields(finished, program):
    code, _, err = program("launch", *arguments(finished[0], "--config.train.batch=4", rule="none"))
    assert code == 2
    assert "train.batch: there 2, here 4" in err
    assert "rule.name: there 'hebbian', here 'none'" in err
    assert "Traceback" not in err


def test_evaluate_mode_reads_the_run_and_writes_beside_it(finished, program):
    workdir, _ = finished
    flags = arguments(workdir, "--mode=evaluate", "--config.evaluate.episodes=10")
    code, out, err = program("launch", *flags)
    assert code == 0, err
    assert (
        read(workdir / "evaluation-6.json")["metrics"] == read(workdir / "result.json")["metrics"]
    )
    code, out, _ = program("launch", *flags)
    assert "evaluation-6-2.json" in out  # nothing is overwritten
    for name in ("evaluation-6.json", "evaluation-6-2.json"):
        (workdir / name).unlink()


def test_a_run_that_is_older_than_a_setting_has_its_default(tmp_path):
    workdir = Workdir(str(tmp_path))
    config = tiny_config(train__steps=6, log__trackers="tensorboard")
    workdir.open(config)
    stored = read(workdir.config)
    stored["log"] = {"every": stored["log"]["every"], "tensorboard": True}
    del stored["mesh"], stored["rule"]["modulated"], stored["task"]["content"]
    stored["model"]["products"] = stored["model"].pop("matmul_precision")
    stored["rule"] |= {"projection": "fixed", "internal_scale": 2.0}  # once of every rule
    workdir.config.write_text(json.dumps(stored))
    workdir.check(config)
    assert workdir.trained_config().to_dict() == config.to_dict()
    stored["rule"]["alpha_scale"] = 0.5
    workdir.config.write_text(json.dumps(stored))
    with pytest.raises(WorkdirError, match=r"rule\.alpha_scale: there 0\.5"):
        workdir.check(config)


@pytest.mark.thorough
def test_evaluate_mode_may_change_the_task_but_not_the_net(finished, program):
    """Without learned positions another delay is fine; here the table would be too short."""
    evaluate = arguments(finished[0], "--mode=evaluate")
    free = ["--config.rule.eta0=0.0", "--config.task.seq_length=1", "--config.task.delay=3"]
    code, _, err = program("launch", *evaluate, *free)
    assert code == 0, err
    report = read(finished[0] / "evaluation-6.json")
    (finished[0] / "evaluation-6.json").unlink()
    assert report["changed"] == {"rule.eta0": 0.0, "task.delay": 3, "task.seq_length": 1}
    assert report["metrics"]["eta_mean"]["mean"] == 0
    code, _, err = program("launch", *evaluate, "--config.model.attention_window=-1")
    assert code == 0, err
    (finished[0] / "evaluation-6.json").unlink()
    code, _, err = program("launch", *evaluate, "--config.task.delay=9")
    assert code == 2
    assert "task.delay: trained 1, here 9" in err
    code, _, err = program("launch", *evaluate, "--config.model.heads=1")
    assert code == 2
    assert "model.heads=1, but the net in" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config=configs/copying.py:hebian"], "did you mean 'hebbian'"),
        (
            ["--config=configs/copying.py", "--config.model.widht=3"],
            "did you mean config.model.width",
        ),
        (
            ["--config=configs/copying.py", "--config.modle.width=3"],
            "did you mean config.model.width",
        ),
        (["--config=configs/copying.py", "--config.task.name=copyin"], "did you mean 'copying'"),
        (["--config=configs/copying.py", "--config.train.steps=many"], "train.steps='many'"),
        (["--config=configs/copyng.py"], "configs/copyng.py"),
        (["--config=configs/copying.py", "--workdr=x"], "did you mean --workdir"),
        ([], "--config is missing"),
        (["--config=configs/copying.py", "stray"], "unexpected argument 'stray'"),
    ],
)
def test_wrong_commands_end_in_one_line_that_helps(flags, message, program, tmp_path):
    code, out, err = program("launch", *flags, f"--workdir={tmp_path / 'run'}")
    assert code == 2, out + err
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    """A learning rate that explodes after the first checkpoint, which stays."""
    config = tiny_config(train__steps=50, train__learning_rate=1e18, train__warmup=3)
    config.update_from_flattened_dict({"rule.max_norm": 0.0, "checkpoint.every": 1})
    with pytest.raises(PlasticityError, match=r"step \d+, seed 0: loss") as raised:
        train(config, str(tmp_path / "run"))
    message = str(raised.value)
    assert re.search(r"First quantity that is not finite: (parameter|output|write|the)", message)
    assert re.search(r"Last good checkpoint: \S+/run/checkpoints/[1-9]", message)
    assert not (tmp_path / "run" / "result.json").exists()
    assert all(np.isfinite(leaf).all() for leaf in final_state(tmp_path / "run"))


def train_two_steps(folder, **fields):
    return train(tiny_config(train__steps=2, evaluate__episodes=4, **fields), str(folder / "run"))


def test_plasticity_that_cannot_learn_stops_the_run(tmp_path):
    """The square of the gradient's norm underflows."""
    with pytest.raises(PlasticityError, match="exactly zero, so plasticity cannot be learned"):
        train_two_steps(tmp_path, rule__eta0=1e-30)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"rule.eta0": 1e-30, "rule.meta_gradient": "truncated"},
        {"rule.alpha_scale": 0.0},
        {"rule.modulated": False},
    ],
    ids=str,
)
def test_settings_without_that_gradient_are_allowed(fields, tmp_path):
    assert train_two_steps(tmp_path, **fields) == 0


def test_two_processes_do_not_share_a_workdir(program, tmp_path):
    with Workdir(str(tmp_path / "run")).lock():
        code, _, err = program("launch", *arguments(tmp_path / "run"))
    assert code == 2
    assert "in use by another process" in err


def test_a_checkpoint_opens_on_another_device(finished, tmp_path):
    """Saved on a larger machine, restored here: the devices that its files name do not exist."""
    copy = tmp_path / "run"
    shutil.copytree(finished[0], copy)
    (sharding,) = copy.glob("checkpoints/*/state/_sharding")
    named = sharding.read_text()
    elsewhere = re.sub(r'(\\"id\\": )(\d+)', r"\g<1>7\2", named)  # devices 70, 71, ...
    assert elsewhere != named
    sharding.write_text(elsewhere)
    for a, b in zip(final_state(copy), final_state(finished[0]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluating_a_run_without_a_checkpoint_says_so(finished, program, tmp_path):
    (tmp_path / "config.json").write_text((finished[0] / "config.json").read_text())
    (tmp_path / "checkpoints").mkdir()
    code, _, err = program("launch", *arguments(tmp_path, "--mode=evaluate"))
    assert code == 2
    assert "holds no checkpoint yet" in err
