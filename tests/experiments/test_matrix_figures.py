"""What a report draws of matrices along an episode and along a stream."""

import json

import numpy as np
import pytest

from plasticity.experiments.reports.matrix_figures import along_episode, of_stream
from plasticity.experiments.reports.runs import read_run
from plasticity.experiments.reports.sections import write_report
from tests.experiments.run_folders import edit, make_run

STEPS = (0, 2, 7)
NAMES = ["config.json", "result.json", "analysis.json"]


def matrices(seed):
    """Fast weights that are 0 at the start."""
    rows = [{"step": 0, "after": "", "layer": "fc1", "weights": "slow", "effective_rank": 6.0}]
    for weights, start in (("fast", 0.0), ("effective", 6.0)):
        for step in STEPS:
            row = {"step": step, "after": "recall", "layer": "fc1", "weights": weights}
            row |= {"effective_rank": start + step + seed, "condition_number": 10.0**step}
            rows.append(row if step else row | {"effective_rank": start})
    return rows


@pytest.fixture
def folder(tmp_path):
    def add(content):
        for own in content["seeds"]:
            own["matrices"] = matrices(own["seed"])

    folder = make_run(tmp_path / "runs" / "a", analysed=True)
    edit(folder / "analysis.json", add)
    return folder


def test_an_episode_has_its_fast_effective_and_slow_weights(folder):
    run = read_run(folder, NAMES, [])
    figure = along_episode(run)
    lines = {line.get_linestyle(): line.get_ydata() for line in figure.axes[0].lines[:3]}  # of fc1
    np.testing.assert_allclose(lines["-"], [0, 3, 8])  # the mean over three seeds
    np.testing.assert_allclose(lines["--"], [6, 9, 14])
    np.testing.assert_allclose(lines[":"], [6, 6, 6])
    assert figure.axes[1].get_yscale() == "symlog"


def test_older_analyses_have_no_such_figure(tmp_path):
    run = read_run(make_run(tmp_path / "a", analysed=True), NAMES, [])
    assert along_episode(run) is None
    assert of_stream([run]) is None


@pytest.mark.thorough
def test_a_stream_has_the_ranks_of_its_slow_weights(folder, tmp_path):
    def add(content):
        for own in content["seeds"]:
            course = {"fc1": [5.0, 4.0 + own["seed"], 3.0], "fc2": [2.0, 2.0, None]}
            own["slow_matrices"] = {"effective_rank": course}

    edit(folder / "result.json", add)
    run, problems = read_run(folder, NAMES, []), []
    first, second = of_stream([run]).axes[0].lines
    np.testing.assert_allclose(first.get_ydata(), [5, 5, 3])
    assert np.isnan(second.get_ydata()[-1])
    out = tmp_path / "report.html"
    write_report(folder.parent, {"a": [run]}, problems, out, tmp_path / "files")
    assert not problems
    text = out.read_text()
    assert "Effective rank of the slow weights" in text
    assert "at the start of a test episode and after its phases" in text
    assert {"a-ranks.svg", "a-matrices-0.svg"} <= {p.name for p in (tmp_path / "files").iterdir()}


def test_rows_that_are_no_numbers_are_refused(folder):
    content = json.loads((folder / "analysis.json").read_text())
    content["seeds"][0]["matrices"][1]["effective_rank"] = "x"
    (folder / "analysis.json").write_text(json.dumps(content))
    problems = []
    assert read_run(folder, NAMES, problems).analysis is None
    assert "is not an analysis of this run" in problems[0]
