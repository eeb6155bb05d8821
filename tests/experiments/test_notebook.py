"""`plasticity.train` and `plasticity.open_run`."""

import builtins
import json
import runpy
import signal
import sys

import jax
import numpy as np
import pytest

import plasticity
from plasticity.experiments.run import hosts
from plasticity.experiments.run.storage import WorkdirError
from plasticity.experiments.validate import ConfigError
from tests.conftest import ROOT
from tests.experiments.run_folders import make_run
from tests.launching import tiny_config

EXAMPLE = str(ROOT / "examples" / "open_a_run.py")


def short(**fields):
    return tiny_config(
        train__num_seeds=2, train__steps=4, log__every=2, evaluate__every=0, **fields
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two seeds, interrupted after two steps and resumed."""

    def asked(self):
        self.signal = signal.SIGINT if len(polls) == 2 else None
        polls.append(self)
        return self.signal is not None

    workdir, polls = tmp_path_factory.mktemp("runs") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts.SharedInterrupts, "asked", asked)
        with pytest.raises(KeyboardInterrupt):
            plasticity.train(short(), workdir)
    with pytest.raises(WorkdirError, match="not finished"):
        plasticity.open_run(workdir)
    return plasticity.train(short(), workdir)


@pytest.mark.thorough
def test_a_run_has_its_config_its_result_and_the_parameters_of_each_seed(run):
    assert run.config.to_dict() == short().to_dict()
    stored = json.loads((run.workdir / "result.json").read_text())
    assert run.result == stored
    assert run.result["steps"] == 4
    assert len(json.loads((run.workdir / "manifest.json").read_text())["resumed"]) == 1
    assert run.task.main_metric == run.result["main_metric"]
    assert set(run.network.backbone.shapes) == set(run.params.plasticity.synapses)
    first, other = (jax.tree.leaves(run.params_of(seed)) for seed in (0, 1))
    assert all(map(np.array_equal, jax.tree.leaves(run.params), first))
    assert not all(map(np.array_equal, first, other))
    with pytest.raises(ValueError, match=r"seed=7 must be one of .*\[0, 1\]"):
        run.params_of(7)


@pytest.mark.thorough
def test_a_finished_run_is_opened_not_trained(run, capsys):
    again = plasticity.train(run.config, run.workdir)
    assert "Nothing to do" in capsys.readouterr().out
    assert again.result == plasticity.open_run(str(run.workdir)).result == run.result


def test_the_table_has_a_line_for_each_seed_and_one_for_their_mean(run):
    head, *lines = run.table().splitlines()
    assert head.split() == ["recall_accuracy", "plasticity", "off", "seed"]
    assert [line.split()[-1] for line in lines] == ["0", "1", "mean"]
    mean = run.result["metrics"]["recall_accuracy"]["mean"]
    assert lines[-1].startswith(f"{mean:.3g} +- ")
    assert run.table() in repr(run)


def test_a_notebook_shows_table_and_curves(run, monkeypatch):
    (axes,) = run.figure().axes
    assert list(axes.lines[0].get_xdata()) == [2, 4]
    shown = run._repr_html_()
    assert "recall_accuracy" in shown
    assert "data:image/svg+xml;base64," in shown
    real = builtins.__import__

    def without_plots(name, *args):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_plots)
    with pytest.raises(ImportError, match=r"install -e '.\[plots\]' in a clone"):
        run.figure()
    assert "recall_accuracy" in run._repr_html_()


def test_a_text_and_overrides_give_a_config_in_a_new_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("plasticity.experiments.run.train.train", lambda *given: seen.append(given))
    monkeypatch.setattr("plasticity.experiments.notebook.open_run", lambda workdir: workdir)
    seen = []
    workdir = plasticity.train("copying:rnn/none", overrides={"model.hidden": 8})
    ((config, path),) = seen
    assert (config.rule.name, config.model.name, config.model.hidden) == ("none", "rnn", 8)
    assert path == workdir
    assert capsys.readouterr().out == f"workdir: {workdir}\n"
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "overrides", "says"),
    [
        ("copyin", {}, "Did you mean copying"),
        ("copying:hebian", {}, "did you mean 'hebbian'"),
        ("copying", {"train.step": 3}, "did you mean config.train.steps"),
        ("copying", {"train.steps": "3"}, "train.steps='3' must be of type int"),
        ("copying", {"train.steps": -3}, "train.steps=-3 must be"),
        ({"train": 3}, {}, "config={'train': 3} must be a ConfigDict or a text"),
    ],
)
def test_a_wrong_config_is_refused_before_anything_is_written(tmp_path, config, overrides, says):
    with pytest.raises(ConfigError, match=says):
        plasticity.train(config, tmp_path / "run", overrides)
    assert not list(tmp_path.iterdir())


def unfinished(folder):
    (make_run(folder / "run", seeds=1) / "result.json").unlink()


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda folder: None, "run holds no run: there is no config.json"),
        (unfinished, r"has no result\.json, so it is not finished"),
        (lambda folder: make_run(folder / "run", seeds=1), "holds no checkpoint yet"),
    ],
)
def test_what_is_missing_is_named(tmp_path, monkeypatch, prepare, says):
    prepare(tmp_path)
    with pytest.raises(WorkdirError, match=says):
        plasticity.open_run(tmp_path / "run").params  # noqa: B018
    monkeypatch.setattr(sys, "argv", [EXAMPLE, str(tmp_path / "run")])
    with pytest.raises(SystemExit, match=f"error: .*{says}"):
        runpy.run_path(EXAMPLE, run_name="__main__")
