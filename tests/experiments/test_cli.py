"""Flags, help and errors, as all programs share them."""

import os
import pathlib
import re
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from plasticity.experiments import commandline
from plasticity.experiments.cli import new_path
from plasticity.experiments.configfile import load_config, set_field
from plasticity.experiments.run import footprint, processor
from plasticity.experiments.run.footprint import check_footprint, estimate
from plasticity.experiments.run.storage import WorkdirError
from plasticity.experiments.validate import ConfigError, validate
from plasticity.rules import RULES
from tests import programs
from tests.conftest import ROOT
from tests.launching import TINY, arguments

PROGRAMS = ["launch", "sweep", "benchmark", "scaling"]
OTHERS = ["report", "reproduce", "analysis", "plateau", "check_numerics", "prepare_data"]
OTHERS += ["encode", "capacity", "conditioning", "interference", "timescales"]
COPYING = "configs/copying.py"


@pytest.mark.parametrize("name", PROGRAMS + OTHERS)
def test_help_shows_flags_and_settings_with_defaults_and_an_example(program, name):
    code, out, err = program(name, "--help")
    assert (code, err) == (0, "")
    assert f"python -m experiments.{name} --" in out
    assert "Flags:" in out
    for known in ("copying: seq_length=5", "hebbian", "transformer", "factored"):
        assert known in out
    if name in PROGRAMS:
        assert "--config: config file" in out
        assert "train.learning_rate=0.001: learning rate (a number, greater than 0)" in out
        assert "=?" not in out


def test_commands_have_the_prefix_under_which_the_program_was_started(tmp_path):
    file = tmp_path / "run"
    file.touch()
    calls = {
        "help": ["launch", "--help"],
        "points": [
            "sweep",
            "--config=copying",
            "--sweep=rules",
            f"--workdir={tmp_path}",
            "--dry_run",
        ],
        "features": [
            "launch",
            "--config=omniglot",
            f"--config.task.features={file}",
            "--workdir=x",
        ],
    }
    for package in ("experiments", "plasticity.experiments"):
        started = {n: programs.start(*args, package=package) for n, args in calls.items()}
        for name, process in started.items():
            printed, _ = process.communicate(60)
            found = re.findall(r"python\S* -m (\S*)\.\w+", printed)
            assert set(found) == {package}, (name, printed)


def test_list_names_what_a_config_can_choose(program):
    code, out, _ = program("launch", "--list")
    assert code == 0
    assert out.strip() == commandline.listing()
    assert "--config=NAME, beside your own as --config=FILE.py: copying, cue_reward" in out


def test_help_of_a_config_shows_its_own_settings(program):
    code, out, _ = program("launch", "--config=configs/regression.py:rnn/none", "--help")
    assert code == 0
    assert "hidden=" in out.partition("Settings as")[2]


def test_traceback_shows_where_an_error_was_raised(program):
    code, _, err = program("launch", "--traceback")
    assert code == 2
    assert "Traceback" in err
    assert err.rstrip().splitlines()[-1].startswith("error: --config is missing")


def test_help_imports_nothing_that_only_a_run_needs():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['launch', '--config=copying', '--help']\n"
        "try: runpy.run_module('experiments.launch', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "late = {'scipy', 'orbax.checkpoint', 'tensorflow_datasets', 'wandb', 'trackio'}\n"
        "sys.exit(repr(late & set(sys.modules)) if late & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Flags:" in done.stdout


def test_a_value_may_follow_its_flag_and_a_truth_value_may_be_left_out(program, tmp_path):
    command = ["--config", f"{COPYING}:hebbian", "--config.train.steps", "7"]
    command += ["--noconfig.rule.modulated", "--config.model.tied", "--help"]
    code, out, err = program("launch", *command)
    assert code == 0, err
    shown = out.partition("Settings as")[2]
    for setting in ("train.steps=7", "rule.modulated=False", "model.tied=True"):
        assert setting in shown


def start(workdir):
    endless = ["--config.train.steps=1000000", "--config.log.every=1", "--config.evaluate.every=0"]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.launch", *arguments(workdir, *endless, flags=TINY)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.thorough
def test_a_closed_pipe_ends_the_run_which_can_be_resumed(tmp_path):
    with start(tmp_path / "run") as process:
        next(line for line in process.stdout if line.startswith("step "))
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 141
    assert error.splitlines()[0] == "error: standard output cannot be written: Broken pipe"
    assert f"--workdir={tmp_path / 'run'}" in error.partition("to resume: ")[2]


def test_a_platform_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "nowhere")
    with start(tmp_path / "run") as process:
        _, error = process.communicate()
    assert process.returncode == 2
    assert "JAX_PLATFORMS=nowhere is not available here" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("variable", ["JAX_ENABLE_X64", "JAX_NUM_CPU_DEVICES"])
def test_a_wrong_variable_of_jax_is_one_message(variable):
    command = [sys.executable, "-m", "experiments.launch", "--list"]
    environment = dict(os.environ, **{variable: "maybe"})
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(rf"error: .*maybe.*{variable}.*\n", done.stderr, re.IGNORECASE)


def test_a_config_of_a_user_lies_anywhere_and_may_register_a_rule(tmp_path, monkeypatch):
    """By a path with blanks and a colon, from another folder; the rule is chosen by its name."""
    monkeypatch.setitem(RULES, "mine", RULES["hebbian"])
    folder = tmp_path / "runs 12:30"
    folder.mkdir()
    (folder / "mine.py").write_bytes(
        b"\xef\xbb\xbffrom configs import copying\r\nfrom plasticity.rules import RULES\r\n"
        b"RULES['mine'] = RULES['hebbian']\r\n"
        b"def get_config(rule='mine'):\r\n    return copying.get_config(rule)\r\n"
    )
    monkeypatch.chdir(tmp_path)
    for file in ("runs 12:30/mine.py", f"{folder}/mine.py"):
        for argument in ("", ":mine", ":rnn/mine"):
            holder = SimpleNamespace(value=[f"{file}{argument}"])
            given = commandline.given_config(holder)
            assert (given.file, given.argument) == (file, argument[1:])
            assert given.config.rule.name == "mine"
            validate(given.config)


def test_a_cache_that_cannot_be_written_is_left_alone(program, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("mine")
    monkeypatch.setenv("PLASTICITY_CACHE_DIR", str(file))
    monkeypatch.setenv("XLA_FLAGS", " ")  # not the name of a file of flags
    code, _, err = program("report", "--runs=/nonexistent", f"--out={tmp_path / 'x.html'}")
    assert code == 2
    assert file.read_text() == "mine"
    assert "Traceback" not in err


def test_the_folder_of_an_output_is_made_or_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert new_path("out", "~/x.json") == tmp_path / "x.json"
    assert new_path("out", str(tmp_path / "a/b/x.json")).parent.is_dir()
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for value, message in {
        "": "--out is missing",
        f"{tmp_path}": "is a folder: name a new file",
        f"{tmp_path}/there": "exists, and nothing is overwritten",
        f"{tmp_path}/link": "exists, and nothing is overwritten",
        f"{tmp_path}/there/x.json": "cannot be written",
        f"{tmp_path}/new/": "is a folder",
        f"{tmp_path}/{'x' * 300}": "File name too long",
        "~nobody-of-that-name/x": "~nobody-of-that-name is no user",
        "s3://a/b.json": "must be a local path",
    }.items():
        with pytest.raises((ConfigError, WorkdirError), match=message):
            new_path("out", value)
    assert (tmp_path / "there").read_text() == "mine"


def test_numpy_numbers_and_locked_configs_are_configs(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\nfrom configs import copying\n\n"
        "def get_config():\n    config = copying.get_config()\n    with config.ignore_type():\n"
        "        config.train.steps = np.int64(300)\n        config.rule.eta0 = np.float32(0.5)\n"
        "        config.rule.modulated = np.bool_(True)\n    return config.lock()\n"
    )
    config = load_config(str(file))
    validate(config)
    assert [type(v) for v in (config.train.steps, config.rule.eta0, config.rule.modulated)] == [
        int,
        float,
        bool,
    ]
    set_field(config, "train.steps", "9")
    assert config.train.steps == 9


def test_a_field_that_others_refer_to_changes_them(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from configs import copying\n\n"
        "def get_config():\n    config = copying.get_config()\n"
        "    config.train.warmup = config.train.get_ref('batch')\n    return config\n"
    )
    config = load_config(str(file))
    set_field(config, "train.batch", "7")
    assert config.train.warmup == 7


@pytest.mark.parametrize("argument", ["hebbian", "rnn/gradient", "lstm/none"])
def test_the_footprint_holds_the_state_exactly(argument):
    config = load_config(COPYING, argument)
    learner = footprint.learner_for(config)
    hyper = footprint.build.make_hyperparameters(config, learner.task)
    state = jax.eval_shape(learner.init, np.int32(0), hyper)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    # Parameters, their gradient, two moments of Adam; and a few counters.
    assert 16 * parameters <= estimate(config).state <= 16 * parameters + 100


def test_what_is_kept_grows_with_episodes_steps_and_the_engine():
    def kept(**fields):
        config = load_config(COPYING, "hebbian")
        config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
        return estimate(config).history

    base = kept()
    assert kept(train__batch=128) == pytest.approx(2 * base)
    assert kept(train__num_seeds=3) == pytest.approx(3 * base)
    assert kept(task__delay=20 + 31) == pytest.approx(2 * base, rel=0.1)
    assert kept(memory__engine="dense") > base
    assert kept(train__microbatch=1) < base


def test_a_config_larger_than_the_machine_is_refused(monkeypatch):
    config = load_config(COPYING, "hebbian")
    check_footprint(config)
    monkeypatch.setattr(footprint, "_memory_there", lambda: 1e3)
    with pytest.raises(
        ConfigError, match=r"this machine has 1.00kB.*train.batch=64.*task.delay=20"
    ):
        check_footprint(config)


def test_errors_that_mean_too_little_memory():
    for error in (
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: 1 GB"),
        OSError("Out of memory"),
    ):
        assert processor.is_out_of_memory(error)
    assert not processor.is_out_of_memory(RuntimeError("something else"))


def test_every_config_of_the_project_loads():
    for file in sorted(pathlib.Path(ROOT / "configs").glob("*.py")):
        if "def get_config" in file.read_text() and file.stem not in ("base", "few_shot", "duan"):
            assert "task" in load_config(str(file))
