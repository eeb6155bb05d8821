"""What is installed: the files, and the programs where there is no clone."""

import os
import re
import subprocess
import sys

import pytest

from plasticity import configs
from plasticity.experiments.configfile import load_config
from plasticity.rules import feed_forward
from tests.conftest import ROOT
from tests.launching import SHORT, read


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the packages of a wheel."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "build_py"]
    subprocess.run([*build, "--build-lib", folder], cwd=ROOT, check=True)
    return folder


def test_a_wheel_holds_one_package_with_programs_configs_and_templates(site):
    assert [path.name for path in site.iterdir()] == ["plasticity"]
    installed = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    there = {
        f"plasticity/{prefix}{path.relative_to(folder)}"
        for folder, prefix in (
            (ROOT / "plasticity", ""),
            (ROOT / "experiments", "experiments/"),
            (ROOT / "configs", "configs/"),
        )
        for path in folder.rglob("*")
        if path.suffix in (".py", ".jinja", ".typed")
    }
    assert installed == there
    assert "plasticity/experiments/reports/table.tex.jinja" in installed


@pytest.mark.parametrize("name", configs.NAMES)
def test_every_shipped_config_has_a_name(name):
    assert "train" in load_config(name)


def test_every_config_file_that_takes_one_argument_is_named():
    for path in (ROOT / "configs").glob("*.py"):
        takes_one = re.search(r"^def get_config\(\w+: str = [^,]*\) ->", path.read_text(), re.M)
        assert bool(takes_one) == (path.stem in configs.NAMES), path


def test_the_package_imports_nothing_that_only_its_programs_need():
    heavy = "{'flax', 'optax', 'orbax', 'tensorflow', 'ml_collections', 'plasticity.experiments'}"
    code = f"import plasticity, sys; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.fixture
def installed(site, tmp_path):
    """Runs `python -m plasticity.experiments.NAME ARGS` where folders have the clone's names."""
    for name in ("experiments", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not for this program')")
    (tmp_path / "configs" / "copying.py").write_text("raise RuntimeError('not asked for')")
    (tmp_path / "own.py").write_text(
        "from plasticity.configs import base\n"
        "def get_config(): return base.start('none', 'copying')\n"
    )

    def run(*arguments):
        environment = os.environ | {"PYTHONPATH": str(site)}
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    def program(name, *arguments):
        return run("-m", f"plasticity.experiments.{name}", *arguments)

    program.python = run
    return program


@pytest.mark.slow
def test_programs_run_where_there_is_no_clone(installed, tmp_path):
    code, out, err = installed("launch", "--config=copying:hebbian", "--workdir=runs/x", *SHORT)
    assert code == 0, err
    assert "-m plasticity.experiments.launch --config=copying:none --workdir=runs/x-none" in out
    assert "-m plasticity.experiments.report --runs=runs/x" in out
    assert not re.search(r"(?<!plasticity\.)\bexperiments\.\w", out)
    assert read(tmp_path / "runs/x/result.json")["steps"] == 6

    assert installed("launch", "--config=own.py", "--workdir=runs/own", *SHORT)[0] == 0
    sweep = ["--config=copying", "--sweep=rules", "--workdir=runs/sweep", *SHORT]
    code, out, _ = installed("sweep", *sweep, "--dry_run")
    assert code == 0
    rules = len(feed_forward())
    assert out.count("-m plasticity.experiments.launch --config=copying:") == rules
    code, out, err = installed("sweep", *sweep)
    assert code == 0, (tmp_path / "runs/sweep/logs/worker-1.log").read_text()
    assert f"{rules} of {rules} points complete" in out
    assert installed("report", "--runs=runs/sweep", "--out=r.html")[0] == 0
    assert "-m plasticity.experiments.sweep --config=copying" in (tmp_path / "r.html").read_text()
    code, _, err = installed("analysis", "--run=runs/x")
    assert code == 0, err
    bench = ["--engines=dense", "--repeats=1", "--out=b.json"]
    code, _, err = installed("benchmark", "--config=copying", *SHORT, *bench)
    assert code == 0, err
    code, _, err = installed("check_numerics", "--trace=tests/golden/none.npz")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.slow
def test_plasticity_train_needs_no_clone_no_flags_and_no_main_thread(installed, tmp_path):
    """The flags of the programs are not defined: a program of the user's may have its own."""
    fields = [flag.removeprefix("--config.").split("=") for flag in SHORT]
    code = (
        "import threading, plasticity\n"
        f"given = dict(overrides={ {name: int(value) for name, value in fields}!r})\n"
        "def train(): print(plasticity.train('copying', 'runs/y', **given))\n"
        "thread = threading.Thread(target=train); thread.start(); thread.join()\n"
        "from absl import flags\n"
        "assert not {'help', 'list', 'config', 'workdir'} & set(flags.FLAGS)\n"
    )
    code, out, err = installed.python("-c", code)
    assert (code, err) == (0, "")
    assert "recall_accuracy" in out.splitlines()[-2]
