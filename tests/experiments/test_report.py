"""Reports on made-up runs: their content, damaged files, that nothing is overwritten or left."""

import json
import math
import shutil
import struct
import subprocess

import pytest

from plasticity.experiments.reports import sections
from plasticity.experiments.reports.collect import collect
from plasticity.experiments.reports.figures import learning_curves
from plasticity.experiments.reports.labels import (
    cell,
    command,
    drawable,
    varied,
    varied_within_rules,
)
from plasticity.experiments.reports.page import evidence_row, latex, page, results_table
from plasticity.experiments.reports.performance import performance
from plasticity.experiments.reports.sections import Files, group_section, write_report
from plasticity.experiments.validate import ConfigError
from tests.experiments.run_folders import edit, make_run, summary

RULES = {"none": 0.13, "hebbian": 0.97, "gradient": 0.9}


@pytest.fixture
def runs(tmp_path):
    root = tmp_path / "runs"
    for rule, value in RULES.items():
        for delay in (0, 20, 100):
            folder = root / "delays" / f"task.delay={delay},rule.name={rule}"
            make_run(folder, rule, delay, value, analysed=rule == "hebbian" and delay == 20)
    make_run(root / "alone", "hebbian", 5, 0.5)
    verdicts = [
        {
            "claim": "A & B_c",
            "source": "test",
            "verdict": "not supported",
            "evidence": [
                {"study": "delays", "claimed": "x", "other": "y", "n": 3, "p": 0.2}
                | {"direction": "less", "margin": 0.0, "log": True, "mean": 0.0}
            ],
        }
    ]
    (root / "verdicts.json").write_text(json.dumps(verdicts))
    results = {"failed": {"delays/x": "too hot"}, "skipped": {"omniglot": "no images"}}
    results["studies"] = {"delays": "how long?", "unseen": "nothing"}
    (root / "results.json").write_text(json.dumps(results))
    return root


def test_runs_are_grouped_and_ordered(runs):
    groups = collect(runs)
    assert list(groups) == ["runs", "delays"]  # "alone" stands in the top folder
    # The configs of the rules differ in their decay, too.
    assert set(varied(groups["delays"])) == {"task.delay", "rule.decay_ratio"}
    assert varied_within_rules(groups["delays"]) == ["task.delay"]
    order = [(run.config["task.delay"], run.rule) for run in groups["delays"]]
    assert order == [(delay, rule) for delay in (0, 20, 100) for rule in RULES]
    assert len(groups["delays"][0].values()) == 3


def test_runs_in_one_folder_but_of_other_tasks_are_not_compared(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    edit(tmp_path / "b" / "config.json", lambda config: config["task"].update(name="other"))
    assert [len(runs) for runs in collect(tmp_path).values()] == [1, 1]


def test_a_folder_of_one_run_and_a_linked_run_are_found(tmp_path):
    folder = make_run(tmp_path / "real" / "run")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "again").symlink_to(folder)
    (tmp_path / "linked" / "loop").symlink_to(tmp_path / "linked")
    for root in (folder, tmp_path / "linked"):
        ((run,),) = collect(root).values()
        assert len(run.values()) == 3


def seeds_apart(folder, count, seed_of):
    for index in range(count):
        run = make_run(folder / f"seed={index}", seeds=1)
        edit(run / "config.json", lambda config, i=index: config.update(seed=seed_of(i)))
        edit(run / "result.json", lambda result, i=index: result.update(seed=seed_of(i)))


def test_runs_that_differ_in_their_seed_are_one(tmp_path):
    seeds_apart(tmp_path, 3, lambda index: index)
    (runs,) = collect(tmp_path).values()
    (run,) = runs
    assert len(run.values()) == len(run.manifests) == 3
    (row,) = results_table(runs)
    assert (row["seeds"], row["interval over"]) == (3, "seeds")


def test_a_copy_of_a_run_is_not_a_second_seed(tmp_path):
    seeds_apart(tmp_path, 2, lambda index: 7)
    problems = []
    ((run,),) = collect(tmp_path, problems).values()
    assert len(run.seeds) == 1
    assert "seed=1 holds seeds that" in problems[0]


def test_a_run_of_one_seed_has_the_interval_over_its_test_episodes(tmp_path):
    make_run(tmp_path / "run", "none", seeds=1)
    (runs,) = collect(tmp_path).values()
    (row,) = results_table(runs)
    assert (row["ci95"], row["interval over"]) == (0.01, "100 test episodes")
    assert row["off"] is None  # a static network has nothing to switch off
    files = Files(tmp_path / "files")
    section = group_section(files, "x", runs)
    assert section["static"]
    assert "nan" not in (tmp_path / "files" / "x.csv").read_text()


@pytest.mark.parametrize("values", [[0.5], [0.0, 1.0], [1.0, 1.0, 1.0]])
def test_axes_of_a_small_run_have_integer_steps_and_accuracies(tmp_path, values):
    folder = make_run(tmp_path / "run", seeds=1, value=values[-1])
    rows = [
        {"step": step, "split": "train", "recall_accuracy": value}
        for step, value in enumerate(values, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (runs,) = collect(tmp_path).values()
    for figure, of_steps in ((learning_curves(runs), True), (performance(runs), False)):
        figure.canvas.draw()
        (axes,) = figure.axes
        low, high = axes.get_ylim() if of_steps else axes.get_xlim()
        assert -0.021 < low < high < 1.021
        if of_steps:
            assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_networks_tested_under_other_settings_are_shown(runs, tmp_path):
    for folder in (runs / "delays").iterdir():
        seeds = json.loads((folder / "result.json").read_text())["seeds"]
        for step, delay in ((60, 40), (60, 80), (20, 99)):  # the last is not of the final network
            record = {"step": step, "changed": {"task.delay": delay}, "seeds": seeds}
            (folder / f"evaluation-{step}-{delay}.json").write_text(json.dumps(record))
    delays = collect(runs)["delays"][:3]
    assert [other.config["task.delay"] for other in delays[0].elsewhere] == [40, 80]
    section = group_section(Files(tmp_path / "files"), "delays", delays)
    assert section["elsewhere"]
    assert "80" in (tmp_path / "files" / "delays-elsewhere.csv").read_text()


def test_a_seed_that_diverged_is_shown(runs):
    def diverge(result):
        result["seeds"][1]["diverged_after"] = 7

    folder = runs / "delays" / "task.delay=20,rule.name=hebbian"
    edit(folder / "result.json", diverge)
    rows = results_table(collect(runs)["delays"])
    assert [row["diverged"] for row in rows].count(1) == 1
    figure = performance(collect(runs)["delays"][3:6])
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert markers.count("x") == 2  # on and off


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300, -1e30])
def test_scores_that_are_not_finite_or_enormous_are_shown(tmp_path, value):
    """A net may overflow on test episodes; a run of one test episode has no interval."""
    folder = make_run(tmp_path / "runs" / "a")
    make_run(tmp_path / "runs" / "b", "none", seeds=1)

    def overflow(result):
        for record in (result, *result["seeds"][:2]):
            record["metrics"]["recall_accuracy"] = {"mean": value, "ci95": math.nan, "n": 1}

    edit(folder / "result.json", overflow)
    (runs,) = collect(tmp_path / "runs").values()
    section = group_section(Files(tmp_path / "files"), "x", runs)
    shown = [row["recall_accuracy"] for row in section["table"]]
    assert (shown[1] is None) == (abs(value) != 1e30)


def test_a_seed_on_a_plateau_leaves_the_axis_logarithmic(runs):
    def solve(result):
        records = (result, *result["seeds"])
        for record, mse in zip(records, (1e-4, 1e-4, 2e-4, 0.08), strict=True):
            for part in ("metrics", "metrics_plasticity_off"):
                record[part] = {"query_mse": summary(mse)}
        result["main_metric"] = "query_mse"

    edit(runs / "alone" / "result.json", solve)
    (axes,) = performance(collect(runs)["runs"]).axes
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] < 1e-4


def test_commands_can_be_typed():
    worker = ["/a/experiments/reproduce.py", "--preset=full", "--tasks=", "--only=12ab"]
    assert command(worker) == "python -m plasticity.experiments.reproduce --preset=full"
    bare = ["/a/experiments/launch.py", "--config=c.py", "--config.curriculum.field=", "--x="]
    assert command(bare).endswith("--config=c.py --config.curriculum.field=")
    assert command(["/x/ipykernel_launcher.py", "-f", "k.json"]).startswith("plasticity.train(")


DAMAGE = {
    "empty": lambda path: path.write_text(""),
    "zeros": lambda path: path.write_bytes(b"\0" * 100),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "other JSON": lambda path: path.write_text("[null]"),
    "no UTF-8": lambda path: path.write_bytes(b"\xff" + path.read_bytes()),
    "no text": lambda path: path.write_text('{"x": "\\ud800"}'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_a_damaged_run_is_listed_and_the_others_stand(tmp_path, name, damage):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", "none")
    DAMAGE[damage](tmp_path / "a" / name)
    problems = []
    ((run,),) = collect(tmp_path, problems).values()
    assert run.folder.name == "b"
    assert len(problems) == 1
    assert str(tmp_path / "a" / name) in problems[0]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("metrics.jsonl", "curve"),
        ("manifest.json", "manifests"),
        ("analysis.json", "analysis"),
        ("evaluation-60.json", "elsewhere"),
    ],
)
def test_a_run_stands_without_a_damaged_part(tmp_path, name, part, damage):
    folder = make_run(tmp_path / "a", analysed=True)
    evaluation = {"step": 60, "changed": {"task.delay": 9}, "metrics": {}, "seeds": []}
    (folder / "evaluation-60.json").write_text(json.dumps(evaluation))
    DAMAGE[damage](folder / name)
    problems = []
    ((run,),) = collect(tmp_path, problems).values()
    if (name, damage) == ("metrics.jsonl", "cut"):  # the end of the last line was not written
        assert len(run.curve) == 8
        return
    assert not getattr(run, part)
    assert any(str(folder / name) in problem for problem in problems)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("result.json", lambda r: r.pop("main_metric")),
        ("result.json", lambda r: r.update(main_metric="missing")),
        ("result.json", lambda r: r.update(seeds=None, metrics=None)),
        ("result.json", lambda r: r["seeds"][1].update(metrics={"recall_accuracy": 0.5})),
        ("result.json", lambda r: r["seeds"][0]["metrics"]["recall_accuracy"].update(mean=None)),
        (
            "result.json",
            lambda r: r["seeds"][0]["metrics"]["recall_accuracy"].update(mean=10**400),
        ),
        ("result.json", lambda r: r.update(seeds="0, 1, 2")),
        ("config.json", lambda c: c.update(rule="hebbian")),
        ("config.json", lambda c: c["task"].update(name=None)),
    ],
)
def test_a_field_of_another_type_is_named(tmp_path, name, change):
    make_run(tmp_path / "b", "none")
    edit(make_run(tmp_path / "a") / name, change)
    problems = []
    ((run,),) = collect(tmp_path, problems).values()
    assert run.folder.name == "b"
    assert name in problems[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(step=20),
        lambda a: a.update(events=[]),
        lambda a: a["events"].pop(),
        lambda a: a.update(seeds=[]),
        lambda a: a["seeds"][0]["rates"].pop("fc1"),
        lambda a: a["seeds"][1].pop("untrained"),
        lambda a: a["seeds"][2]["sizes"].update(fc2="x"),
        lambda a: a["seeds"][2]["sizes"]["fc2"].__setitem__(0, {}),
    ],
)
def test_an_analysis_that_does_not_fit_the_run_is_left_out(tmp_path, change):
    edit(make_run(tmp_path / "a", analysed=True) / "analysis.json", change)
    problems = []
    ((run,),) = collect(tmp_path, problems).values()
    assert run.analysis is None
    assert "analysis.json" in problems[0]


def test_a_folder_without_finished_runs_is_an_error_that_says_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match="holds no finished run"):
        collect(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        collect(tmp_path / "nowhere")
    (make_run(tmp_path / "a") / "result.json").unlink()
    with pytest.raises(
        ConfigError, match=r"a is not finished.*python -m plasticity\.experiments\.launch"
    ):
        collect(tmp_path)
    (make_run(tmp_path / "b") / "result.json").write_text("")
    with pytest.raises(ConfigError, match=r"b/result\.json is empty"):
        collect(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        collect(tmp_path / "a" / "config.json")


@pytest.mark.parametrize("name", ["verdicts.json", "published.json", "results.json"])
@pytest.mark.parametrize("content", ["", "[null]", '{"studies": 3}', "3", '[{"claim": "x"}]'])
def test_damaged_files_of_a_campaign_leave_the_report_whole(tmp_path, monkeypatch, name, content):
    root = make_run(tmp_path / "runs" / "a", seeds=1).parent
    (root / name).write_text(content)
    monkeypatch.setattr(sections, "group_section", lambda *_: {})
    monkeypatch.setattr(sections.page, "page", lambda **content: str(content["problems"]))
    problems = []
    write_report(root, collect(root), problems, tmp_path / "out.html", tmp_path / "out_files")
    shown = name == "published.json" and "claim" in content
    assert len(problems) == (not shown)
    assert shown or str(root / name) in (tmp_path / "out.html").read_text()


def test_a_report_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    root = make_run(tmp_path / "runs" / "a", seeds=1).parent

    def fail(**_):
        raise OSError("no space left on device")

    monkeypatch.setattr(sections.page, "page", fail)
    with pytest.raises(OSError, match="no space"):
        write_report(root, collect(root), [], tmp_path / "out.html", tmp_path / "out_files")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_report(program, runs, tmp_path):
    (make_run(runs / "delays" / "broken") / "result.json").write_text("")
    out = tmp_path / "report.html"
    args = ["report", f"--runs={runs}", f"--out={out}"]
    code, _, err = program(*args)
    assert code == 0, err
    assert "warning: " in err
    assert "broken/result.json" in err
    content = out.read_text()
    for expected in (
        "too hot",
        "no images",
        "not supported",
        "A &amp; B_c",
        "How long?",
        "delays",
        "python -m experiments.launch &#39;&lt;b&gt;&#39;",
        "Runs that could not be read",
        "broken/result.json",
        "<h3>hebbian, delay 20</h3>",
    ):
        assert expected in content
    assert "http://" not in content.replace("http://www.w3.org", "")
    assert 'src="http' not in content
    assert "<script" not in content
    files = {path.name for path in (tmp_path / "report_files").iterdir()}
    assert {"delays-performance.svg", "delays-performance.png", "delays.csv", "delays.tex"} <= files
    assert {"delays-modulation-0.png", "delays-interventions-0.svg", "verdicts.tex"} <= files
    before = out.read_bytes()
    code, _, err = program(*args)
    assert code == 2
    assert "nothing is overwritten" in err
    assert out.read_bytes() == before
    if shutil.which("chromium"):
        opens(out, tmp_path / "shot.png")


def opens(page, shot):
    """A browser shows it, as wide as a phone."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--window-size=500,900", f"--screenshot={shot}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    width, height = struct.unpack(">II", shot.read_bytes()[16:24])
    assert (width, height) == (500, 900)
    assert len(shot.read_bytes()) > 10_000  # not blank


TEXTS = ("question", "answer", "by_source", "forest")


def test_text_is_escaped():
    lists = ("problems", "verdicts", "published", "missing", "groups", "commands", "versions")
    content = dict.fromkeys(lists, ()) | dict.fromkeys(TEXTS, "")
    content |= {"problems": ["a < b"], "conditioning": ""}
    html = page(title="<script>", **content | {"published": [{"x": "y", "p": 0.123456}]})
    assert "<script>" not in html
    assert "a &lt; b" in html
    assert '<td>y</td><td class="number">0.123</td>' in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98765, "0.988"),
        (12345.6, "12300"),
        (12345, "12345"),
        (1.23456e-7, "1.23e-07"),
        (1e9, "1e+09"),
        (-1234.5, "-1230"),
        (True, "True"),
        (None, ""),
    ],
)
def test_numbers_have_three_digits_and_integers_are_whole(value, text):
    assert cell(value) == text


def test_text_in_figures_is_no_formula_and_short():
    assert drawable("$x^$\n\0") == r"\$x^\$??"
    assert len(drawable("x" * 1000)) == 60


def test_latex():
    table = latex([{"rule": "a_b & 50 %", "loss": 0.5}])
    assert r"a\_b \& 50 \% & 0.5 \\" in table
    assert r"\begin{tabular}{lr}" in table


def test_fields_that_go_with_a_rule_do_not_set_runs_of_other_rules_apart(tmp_path):
    for rule, width in (("none", 384), ("hebbian", 256)):
        folder = make_run(tmp_path / "runs" / rule, rule)
        edit(folder / "config.json", lambda c, width=width: c["model"].update(hidden=width))
    (runs,) = collect(tmp_path).values()
    assert varied(runs) == ["model.hidden"]  # shown in tables
    assert varied_within_rules(runs) == []  # drawn in one panel
    assert [run.rule for run in runs] == ["none", "hebbian"]


def test_the_rule_of_a_memory_layer_keeps_its_column(tmp_path):
    """Its short name is that of the column of rules."""
    for rule in ("delta", "gated_delta"):
        folder = make_run(tmp_path / "runs" / rule, "none")
        edit(folder / "config.json", lambda c, rule=rule: c["site"].update(rule=rule))
    (runs,) = collect(tmp_path).values()
    found = [(row["rule"], row["site.rule"]) for row in results_table(runs)]
    assert found == [("none", "delta"), ("none", "gated_delta")]


@pytest.mark.parametrize(
    ("direction", "margin", "log", "claim", "of"),
    [
        ("less", 0.002, False, "at most 0.002 more", "difference"),
        ("more", -0.1, False, "more by 0.1", "difference"),
        ("less", 0.0, True, "less", "ratio"),
        ("less", math.log(1.05), True, "at most 1.05 times", "ratio"),
        ("more", math.log(2), True, "at least 0.5 times", "ratio"),
    ],
)
def test_a_row_of_evidence_names_its_claim(direction, margin, log, claim, of):
    record = {"study": "s", "claimed": "a", "other": "b", "direction": direction, "margin": margin}
    row = evidence_row(record | {"log": log, "mean": 0.5, "p": 0.5, "smallest_effect": 0.1})
    sign = -1 if direction == "less" else 1  # effects are positive in the claimed direction
    assert row["smallest_effect"] == pytest.approx(math.exp(sign * 0.1) if log else 0.1)
    assert (row["claim"], row["of"], row["p"], row["low"]) == (claim, of, 0.5, None)
    assert row["mean"] == pytest.approx(math.exp(0.5) if log else 0.5)
