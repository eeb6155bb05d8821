"""The example that opens a run ends in one message where there is no run to open."""

import runpy
import sys

import pytest

from tests.conftest import ROOT
from tests.experiments.run_folders import make_run


def nothing(folder):
    pass


def an_unfinished_run(folder):
    make_run(folder / "run", seeds=1)


@pytest.mark.parametrize(
    ("arguments", "prepare", "says"),
    [
        ([], nothing, "usage: python examples/open_a_run.py WORKDIR"),
        (["run"], nothing, "run holds no run: there is no config.json"),
        (["run"], an_unfinished_run, "checkpoint"),
    ],
)
def test_the_example_names_what_is_missing(tmp_path, monkeypatch, arguments, prepare, says):
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    example = str(ROOT / "examples" / "open_a_run.py")
    monkeypatch.setattr(sys, "argv", [example, *arguments])
    with pytest.raises(SystemExit, match=says):
        runpy.run_path(example, run_name="__main__")
