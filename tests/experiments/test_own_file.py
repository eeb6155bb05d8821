"""A rule and a task in a file of the user's, examples/oja.py, through all programs."""

import dataclasses
import json
import runpy
import shutil
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict

import plasticity
from plasticity.configs import base, copying, duan, fields
from plasticity.configs.algebra import over, product
from plasticity.experiments import build, commandline
from plasticity.experiments.configfile import load_config
from plasticity.experiments.extend import REGISTRIES
from plasticity.experiments.run.program import shape_of
from plasticity.experiments.run.stored_config import read_config
from plasticity.experiments.sweeps.points import Point, check
from plasticity.experiments.validate import ConfigError, validate
from plasticity.rules import PlasticSettings, none
from tests.conftest import ROOT
from tests.experiments.run_folders import edit

TINY = [
    "--config.model.hidden=3", "--config.model.auxiliary=0", "--config.task.pairs=2",
    "--config.train.batch=2", "--config.train.steps=3", "--config.train.warmup=1",
    "--config.evaluate.episodes=4", "--config.evaluate.batch=4",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _forgets():
    """What a test registers, and the files that it loads, are forgotten."""
    before = {section: dict(registry) for section, registry in REGISTRIES.items()}
    yield
    for section, registry in REGISTRIES.items():
        registry.clear()
        registry.update(before[section])
    for name in [name for name in sys.modules if name.startswith("config file ")]:
        del sys.modules[name]


@pytest.fixture
def file(tmp_path):
    return shutil.copy(ROOT / "examples" / "oja.py", tmp_path / "oja.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A file outside the repository and a workdir that is still empty."""
    folder = tmp_path_factory.mktemp("mine")
    return shutil.copy(ROOT / "examples" / "oja.py", folder), folder / "run"


def arguments(file, workdir, *extra):
    return ["launch", f"--config={file}:rnn/my_oja", f"--workdir={workdir}", *TINY, *extra]


@pytest.mark.thorough
def test_it_trains_and_its_run_says_where_it_is(run, program):
    file, workdir = run
    code, out, err = program(*arguments(file, workdir))
    assert code == 0, err
    assert f"experiments.launch --config={file}:rnn/none --workdir={workdir}-none" in out
    stored = json.loads((workdir / "config.json").read_text())
    manifest = json.loads((workdir / "manifest.json").read_text())
    for found in (stored, manifest):
        assert found["registered_by"] == {"rule": str(file), "task": str(file)}
    assert stored["rule"]["forgetting"] == 1.0
    code, out, err = program(*arguments(file, workdir))
    assert (code, "is complete" in out) == (0, True), err


@pytest.mark.thorough  # it reads the run of the test above
def test_a_program_that_gets_the_workdir_alone_finds_the_file(run):
    example = runpy.run_path(str(ROOT / "examples" / "open_a_run.py"))["main"]
    _, fast = example(str(run[1]))
    assert all(np.asarray(layer.weight).any() for layer in fast.values())


@pytest.mark.slow
def test_it_is_extended_evaluated_and_analysed(run, program):
    file, workdir = run
    longer = arguments(file, workdir, "--config.train.steps=4")
    code, _, err = program(*longer)
    assert code == 0, err
    assert json.loads((workdir / "result.json").read_text())["steps"] == 4
    code, _, err = program(*longer, "--mode=evaluate", "--config.rule.forgetting=0")
    assert code == 0, err
    report = json.loads((workdir / "evaluation-4.json").read_text())
    assert report["changed"] == {"rule.forgetting": 0.0}
    code, out, err = program("analysis", f"--run={workdir}")
    assert code == 0, err
    assert "query_mse_silent_pair" in out


@pytest.mark.thorough
def test_a_report_needs_no_file(run, program, tmp_path):
    """The file may be gone: a report reads results."""
    shutil.copytree(run[1], tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    edit(config, lambda value: value.update(registered_by={"rule": "/gone.py"}))
    code, _, err = program("report", f"--runs={tmp_path / 'run'}", f"--out={tmp_path / 'r.html'}")
    assert (code, err) == (0, "")
    assert "oja" in (tmp_path / "r.html").read_text()


def test_help_and_list_know_what_the_file_registers(program, file):
    _, out, _ = program("launch", f"--config={file}", "--list")
    assert "pairs: pairs=4" in out
    assert "forgetting=1.0" in out
    _, out, _ = program("benchmark", f"--config={file}", "--help")
    assert "rule.forgetting=1.0: 1: Oja's rule; 0: nothing is forgotten (a number, at" in out


def test_a_file_that_is_loaded_twice_is_no_error(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = load_config("oja.py")
    assert load_config(str(file)).to_dict() == first.to_dict()
    runpy.run_path(str(file))  # executed again, it defines its functions again
    validate(load_config(str(file), "hebbian"))


def test_a_sweep_over_a_traced_setting_shares_one_program(file, tmp_path):
    chosen = product(over("rule.forgetting", [0.0, 0.5]), over("rule.eta0", [0.1, 1.0]))
    points = [Point(str(file), "rnn/my_oja", one, {}, tmp_path) for one in chosen]
    check(points)
    assert len({point.identity for point in points}) == 4
    assert len({shape_of(point.config()) for point in points}) == 1
    config = points[-1].config()
    hyper = build.make_hyperparameters(config, build.make_task(config))
    assert hyper.rule == {"eta0": 1.0, "max_norm": 1.0, "forgetting": 0.5}


def test_points_that_choose_their_rule_take_its_settings_only(tmp_path):
    fixed = {"rule.eta0": 0.5, "rule.projection": "fixed", "rule.meta_gradient": "truncated"}
    found = {}
    for rule in ("none", "hebbian", "gradient"):
        point = Point("configs/copying.py", "", {"rule.name": rule}, fixed, tmp_path)
        check([point])
        found[rule] = set(point.settings)
    assert found["none"] == {"rule.meta_gradient"}
    assert found["hebbian"] == found["none"] | {"rule.eta0"}
    assert found["gradient"] == set(fixed)


@pytest.mark.parametrize("get_config", [copying.get_config, base.get_config])
def test_another_rule_keeps_what_both_have(get_config):
    config = get_config()
    config.rule.eta0, config.rule.post = 0.7, "activation"
    config.lock()
    fields.choose_rule(config, "gradient")
    assert config.rule.eta0 == 0.7
    assert config.rule.projection == "trained"
    assert "post" not in config.rule
    fields.choose_rule(config, "none")
    assert config.rule.to_dict() == {"name": "none", "meta_gradient": "full"}
    assert config.rule.is_locked
    fields.choose_rule(config, "hebbian")
    assert config.rule.eta0 == PlasticSettings.eta0
    with pytest.raises(ValueError, match="did you mean 'hebbian'"):
        fields.choose_rule(config, "hebian")


def test_the_rule_of_a_command_line_is_chosen_before_its_settings(monkeypatch):
    class Given:
        value = ("configs/copying.py",)

    given = [("rule.projection", "fixed"), ("rule.name", "gradient")]
    monkeypatch.setattr(commandline, "_overrides", given)
    config = commandline.given_config(Given()).config
    assert (config.rule.name, config.rule.projection) == ("gradient", "fixed")
    validate(config)


def test_settings_for_several_rules_reach_those_that_have_them():
    elementwise = duan.get_config("copying/rnn/gradient").rule
    assert elementwise.projection == "elementwise"
    assert "post" not in elementwise
    assert duan.get_config("copying/rnn/hebbian").rule.post == "activation"
    assert set(duan.get_config("copying/rnn/none").rule) == {"name", "meta_gradient"}


def test_settings_of_all_rules_in_an_old_config_are_dropped(tmp_path):
    """A field that no rule has stays, and is refused."""
    for rule, lacks in (("none", {"eta0", "post", "projection"}), ("hebbian", {"projection"})):
        config = copying.get_config(rule)
        stored = config.to_dict()
        old = dict.fromkeys(lacks, 0) | {"internal_scale": 1.0}
        stored["rule"] = old | stored["rule"]
        path = tmp_path / "config.json"
        path.write_text(json.dumps(stored))
        assert read_config(path) == config.to_dict()
        edit(path, lambda value: value["rule"].update(mine=1))
        with pytest.raises(ConfigError, match=r"rule\.mine is not a setting"):
            validate(ConfigDict(read_config(path)))


@dataclasses.dataclass(frozen=True)
class Mine(PlasticSettings):
    """Settings of a rule of this module."""


def test_a_rule_of_an_installed_package_is_known_by_its_module():
    namespace = {"__name__": "jax.mine", "__file__": "/x/mine.py"}  # as if it were part of JAX
    exec("def go(*args): register(*args)", namespace)
    namespace["register"] = plasticity.register_rule
    namespace["go"]("mine", lambda settings: none(), Mine)
    assert REGISTRIES["rule"]["mine"].source == "jax.mine"
    plasticity.register_rule("ours", lambda settings: none(), Mine)
    assert REGISTRIES["rule"]["ours"].source == __file__
