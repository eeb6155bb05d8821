"""Studies are run once, whatever happens in between, and come to the same tables."""

import json

import pytest

from plasticity.configs.algebra import over
from plasticity.configs.studies import PRESETS, Study
from plasticity.experiments import reproduce
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.sweeps import campaign
from plasticity.experiments.sweeps.campaign import Campaign, points_of, stored_results
from plasticity.experiments.sweeps.known import known_rows
from plasticity.experiments.sweeps.points import Failure
from plasticity.experiments.sweeps.replace import write_csv
from plasticity.experiments.sweeps.together import run_all
from plasticity.experiments.validate import ConfigError
from tests.conftest import ROOT

TINY = {
    "model.width": 8,
    "model.feed_forward": 8,
    "model.heads": 2,
    "model.layers": 1,
    "model.position": "rotary",
    "memory.engine": "dense",
    "task.seq_length": 2,
    "task.delay": 1,
    "task.vocabulary": 4,
    "train.steps": 2,
    "train.warmup": 1,
    "train.batch": 2,
    "train.num_seeds": 2,
    "evaluate.episodes": 4,
    "evaluate.batch": 2,
}
METRICS = {"loss": {"mean": 1.0, "ci95": 0.1, "n": 4}}
RECORD = {"seed": 0, "metrics": METRICS, "metrics_plasticity_off": METRICS}
RESULT = RECORD | {"train_episodes": 4, "seeds": [RECORD, RECORD | {"seed": 1}]}
STUDY = Study(
    "copying",
    "tiny",
    "configs/copying.py",
    over("rule.name", ["none", "hebbian"]),
    elsewhere=[{"task.delay": 3}],
)


@pytest.mark.thorough
def test_a_study_is_resumed_and_repeats_nothing(tmp_path, capsys):
    def run():
        points = points_of(tmp_path, "small", STUDY, TINY)
        campaign = Campaign(tmp_path, {"small": STUDY}, points, ["small"])
        outcome = campaign.run(run_all, {"preset": "x"})
        assert not outcome.failed
        return outcome.rows

    rows = run()
    # Two rules, two seeds, as trained and elsewhere.
    assert [(r["rule.name"], r["task.delay"], r["seed"]) for r in rows] == [
        (rule, delay, seed) for rule in ("none", "hebbian") for delay in (1, 3) for seed in (0, 1)
    ]
    assert all({"recall_accuracy", "recall_accuracy_off"} <= row.keys() for row in rows)
    results = tmp_path / "results.json"
    assert json.loads(results.read_text())["rows"] == rows
    assert capsys.readouterr().out.count("result: ") == 2
    written = [path for path in tmp_path.rglob("*.json") if path != results]
    times = {path: path.stat().st_mtime_ns for path in written}
    results.unlink()
    assert run() == rows
    assert "---" not in capsys.readouterr().out  # nothing was started
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert json.loads(results.read_text())["rows"] == rows


@pytest.mark.slow
def test_points_that_were_run_elsewhere_are_not_run_again(tmp_path, capsys):
    """Their rows come from the table of the other machine; a point that has changed is run."""
    studies = {"small": STUDY}
    here, there = tmp_path / "here", tmp_path / "there"
    rows = (
        Campaign(there, studies, points_of(there, "small", STUDY, TINY), ["small"])
        .run(run_all, {})
        .rows
    )
    write_csv(there / "results.csv", [*rows, {"study": "probe", "loss": 1.0}])
    known = known_rows(there)
    capsys.readouterr()
    taken = Campaign(here, studies, points_of(here, "small", STUDY, TINY), ["small"], known)
    assert taken.run(run_all, {}).rows == rows
    said = capsys.readouterr().out
    assert "---" not in said
    assert "2 points" in said

    longer = TINY | {"train.steps": 3}
    points = points_of(here, "small", STUDY, longer)
    taken = Campaign(here, studies, points, ["small"], known).run(lambda p, done: [], {})
    assert taken.rows == []
    more = STUDY._replace(elsewhere=[{"task.delay": 3}, {"task.delay": 4}])
    points = points_of(here, "small", more, TINY)
    other = STUDY._replace(elsewhere=[{"task.delay": 4}])  # as many rows, of another evaluation
    again = Campaign(here, {"small": other}, points_of(here, "small", other, TINY), [], known)
    assert not again.run(run_all, {}).rows
    assert not Campaign(here, {"small": more}, points, [], known).run(run_all, {}).rows


def finish(points):
    for point in points:
        point.workdir.mkdir(parents=True)
        (point.workdir / "result.json").write_text(json.dumps(RESULT))


def test_known_rows_have_the_values_of_their_configs(tmp_path):
    """In a table, 1 and "1" are the same, and an empty text is as good as none."""
    there, here = tmp_path / "there", tmp_path / "here"
    levels = over("model.levels", ["", "1"])
    study = STUDY._replace(points=levels, fixed={"rule.name": "none"}, elsewhere=())
    points = points_of(there, "small", study, TINY)
    finish(points)
    rows = Campaign(there, {"small": study}, points, ["small"]).run(run_all, {}).rows
    assert [row["model.levels"] for row in rows] == ["", "", "1", "1"]
    write_csv(there / "results.csv", rows)
    points = points_of(here, "small", study, TINY)
    taken = Campaign(here, {"small": study}, points, [], known_rows(there))
    assert taken.run(run_all, {}).rows == rows


def test_what_could_not_be_trained_is_remembered(tmp_path):
    """A claim on stability rests on it, whatever the next launch runs."""
    studies = {"small": STUDY._replace(elsewhere=())}
    points = points_of(tmp_path, "small", studies["small"], TINY)

    def launch(wanted, runner=lambda points, done: []):
        outcome = Campaign(tmp_path, studies, points, wanted).run(runner, {})
        assert stored_results(tmp_path)["lost"] == outcome.lost
        return [(row["rule.name"], row["seed"]) for row in outcome.lost]

    def diverge(points, done):
        return [Failure(point, "diverged", untrainable=True) for point in points]

    hebbian = [("hebbian", 0), ("hebbian", 1)]
    assert launch(["small"]) == []
    assert launch(["small"], diverge) == [("none", 0), ("none", 1), *hebbian]
    finish(points[:1])
    assert launch([]) == launch(["small"]) == hebbian  # the other has been trained since
    finish(points[1:])
    assert launch([]) == []


@pytest.mark.parametrize(
    "text", ["", "loss,seed\n1,2\n", "study,task,point\na,b\n", "study,task,point\na,b,c,d\n"]
)
def test_tables_of_something_else_are_refused(text, tmp_path):
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(DamagedFileError, match=r"results\.csv"):
        known_rows(tmp_path)
    with pytest.raises(DamagedFileError, match="cannot be read"):
        known_rows(tmp_path / "nothing")


def test_features_count_by_their_data_set(tmp_path):
    """Their file lies elsewhere on another machine."""
    study = PRESETS["full"]()["omniglot"]
    hashes = []
    for file in ("a.npz", "folder/b.npz"):
        points = points_of(tmp_path, "omniglot", study, {"task.features": file})
        hashes.append([Campaign(tmp_path, {"omniglot": study}, [], [])._hash(p) for p in points])
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == len(points)


@pytest.mark.thorough
def test_complete_studies_are_gathered_also_when_they_are_not_wanted(tmp_path):
    small = STUDY._replace(elsewhere=(), points=[{"rule.name": "none"}])
    studies = {"one": small, "two": small}
    points = [p for name in studies for p in points_of(tmp_path, name, studies[name], TINY)]
    for wanted, expected in ((["one"], {"one"}), (["two"], {"one", "two"}), (["one"], studies)):
        outcome = Campaign(tmp_path, studies, points, wanted).run(run_all, {})
        assert {row["study"] for row in outcome.rows} == set(expected)


def test_a_missing_analysis_is_left_to_the_runner(tmp_path, monkeypatch):
    study = STUDY._replace(elsewhere=(), analysed=True)
    monkeypatch.setattr(campaign, "analysis_of", lambda workdir: {"seeds": [{"metrics": {}}] * 2})
    points = points_of(tmp_path, "small", study, TINY)
    finish(points)
    asked = []

    def runner(points, done):
        asked.extend(points)
        return []

    rows = Campaign(tmp_path, {"small": study}, points, ["small"]).run(runner, {}).rows
    assert asked == points[1:]  # the plastic one
    (left_out,) = reproduce.run_none(asked, print)  # that of --gather
    assert "not analysed yet" in left_out.why
    assert {row["rule.name"] for row in rows} == {"none"}


def test_a_point_that_fails_does_not_end_the_others(tmp_path, monkeypatch):
    """One that cannot learn, and one whose evaluation fails; both are named, with reasons."""
    study = STUDY._replace(points=over("rule.eta0", [1e-30, 0.2]))
    points = points_of(tmp_path, "small", study, TINY)

    def broken(workdir, overrides):
        raise FloatingPointError("no spectrum")

    monkeypatch.setattr(campaign, "evaluated_elsewhere", broken)
    outcome = Campaign(tmp_path, {"small": study}, points, ["small"]).run(run_all, {})
    assert [point for point, _, _ in outcome.failed] == points
    assert [(row["rule.eta0"], row["seed"]) for row in outcome.lost] == [(1e-30, 0), (1e-30, 1)]
    reasons = json.loads((tmp_path / "results.json").read_text())["failed"]
    assert [why.partition(":")[0] for why in reasons.values()][1] == "FloatingPointError"


def test_a_damaged_result_is_a_failure_of_its_point_alone(tmp_path):
    """It is not a net that could not be trained: verdicts do not count it as one."""
    study = STUDY._replace(elsewhere=())
    points = points_of(tmp_path, "small", study, TINY)
    for point, text in zip(points, ("[1", json.dumps(RESULT)), strict=True):
        point.workdir.mkdir(parents=True)
        (point.workdir / "result.json").write_text(text)
    outcome = Campaign(tmp_path, {"small": study}, points, ["small"]).run(run_all, {})
    assert [row["rule.name"] for row in outcome.rows] == ["hebbian"] * 2
    ((point, why, _),) = outcome.failed
    assert point == points[0]
    assert "result.json" in why
    assert outcome.lost == []
    assert (points[0].workdir / "result.json").read_text() == "[1"


@pytest.mark.parametrize("text", ["", "null", "[]", "\0\0", '{"rows": 3}', '{"a": 1}', None])
def test_results_that_no_campaign_wrote_are_kept(text, tmp_path, capsys):
    path = tmp_path / "results.json"
    path.mkdir() if text is None else path.write_text(text)
    assert reproduce.features_known(tmp_path) == {}
    assert "results.json" in capsys.readouterr().err
    Campaign(tmp_path, {}, [], []).run(run_all, {})
    assert stored_results(tmp_path)["rows"] == []
    kept = tmp_path / "results.json.kept-1"
    assert kept.is_dir() if text is None else kept.read_text() == text


def test_features_of_earlier_launches_stay(tmp_path):
    assert reproduce.features_known(tmp_path) == {}
    Campaign(tmp_path, {}, [], []).run(run_all, {"features": {"omniglot": "a.npz"}})
    assert reproduce.features_known(tmp_path) == {"omniglot": "a.npz"}


def test_what_is_missing_is_said_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("PLASTICITY_DATA_DIR", str(tmp_path))
    paper, full = PRESETS["paper"](), PRESETS["full"]()
    assert "experiments.prepare_data --dataset=omniglot" in reproduce.missing(paper["omniglot"], {})
    assert "--features=omniglot:FILE" in reproduce.missing(full["omniglot"], {})
    assert reproduce.missing(full["regression"], {}) == ""


def test_tasks_and_features_are_checked(tmp_path):
    studies = PRESETS["paper"]()
    assert list(reproduce.chosen_studies(studies, ["copying"])) == [
        "copying",
        "copying_no_auxiliary",
    ]
    with pytest.raises(ConfigError, match="--tasks=copyng is unknown: did you mean 'copying'"):
        reproduce.chosen_studies(studies, ["copyng"])
    with pytest.raises(ConfigError, match="DATASET:FILE"):
        reproduce.features_given(["mnist:x.npz"])
    file = tmp_path / "a.npz"
    file.touch()
    assert reproduce.features_given([f"omniglot:{file}"]) == {"omniglot": str(file)}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--only=", "--only= names no point"),
        (f"--known={ROOT}/experiments/results/memories", "has no point of the preset 'decisive'"),
    ],
)
def test_flags_that_name_nothing_are_refused(flag, message, program, tmp_path):
    code, out, err = program(
        "reproduce", "--preset=decisive", f"--workdir={tmp_path}/new", "--gather", flag
    )
    assert code == 2
    assert message in err, out + err
    assert not (tmp_path / "new").exists()
