"""Reports on runs that are made up: what they say, that they open, that nothing is overwritten."""

import json
import shutil
import struct
import subprocess

import numpy as np
import pytest

from experiments.reports.collect import collect, varied, varied_within_rules
from experiments.reports.figures import performance
from experiments.reports.page import Page, latex
from experiments.reports.run_tables import results_table
from experiments.reports.sections import Files, add_group, command, evidence_row
from experiments.validate import ConfigError

RULES = {"none": 0.13, "hebbian": 0.97, "gradient": 0.9}
EVENTS = ["presentation"] * 2 + ["delay"] * 3 + ["recall"] * 2


def told(value):
    return {"mean": value, "ci95": 0.01, "n": 100}


def make_run(folder, rule, delay, value, analysed=False):
    folder.mkdir(parents=True)
    config = {
        "seed": 0,
        "rule": {"name": rule},
        "model": {"name": "transformer"},
        "task": {"name": "copying", "delay": delay},
    }
    rng = np.random.default_rng(delay)
    seeds = [
        {
            "seed": seed,
            "metrics": {"recall_accuracy": told(value + shift)},
            "metrics_plasticity_off": {"recall_accuracy": told(0.12 + shift)},
        }
        for seed, shift in enumerate(rng.normal(0, 0.01, 3))
    ]
    result = dict(seeds[0]) | {"seeds": seeds, "main_metric": "recall_accuracy", "chance": 0.125}
    files = {
        "config": config,
        "result": result,
        "manifest": {"argv": ["/x/experiments/launch.py", "<b>"]},
    }
    if analysed:
        files["analysis"] = {"events": EVENTS, "seeds": [analysis(seed) for seed in range(3)]}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    lines = [
        {"step": step, "split": "train", "seed": seed, "recall_accuracy": step / 100}
        for step in (20, 40, 60)
        for seed in range(3)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def analysis(seed):
    rates = {"fc1": [0.1 + seed / 100] * 7, "fc2": [0.05] * 7}
    metrics = {
        "gating_index": 0.4,
        "gating_index_untrained": None,
        "recall_accuracy_silent_fc1": 0.2,
        "recall_accuracy_held": 0.5,
    }
    both = {"rates": rates, "sizes": rates}
    return {"seed": seed, "metrics": metrics, "untrained": both} | both


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
    assert list(groups) == ["alone", "delays"]
    assert varied(groups["delays"]) == ["task.delay"]
    assert varied_within_rules(groups["delays"]) == ["task.delay"]
    order = [(run.config["task.delay"], run.rule) for run in groups["delays"]]
    assert order == [(delay, rule) for delay in (0, 20, 100) for rule in RULES]
    assert len(groups["delays"][0].values()) == 3


def test_runs_that_differ_in_their_seed_are_one(tmp_path):
    for seed in range(3):
        folder = tmp_path / "sweep" / f"seed={seed}"
        make_run(folder, "hebbian", 20, 0.5)
        edit(folder / "config.json", lambda config, seed=seed: config.update(seed=seed))
        edit(folder / "result.json", lambda result: result.pop("seeds"))
    (runs,) = collect(tmp_path).values()
    (run,) = runs
    assert len(run.values()) == len(run.manifests) == 3
    (row,) = results_table(runs)
    assert row["seeds"] == 3
    # Of a single seed nothing is known but its value.
    alone = results_table([run._replace(result=run.result | {"seeds": run.seeds[:1]})])
    assert np.isnan(alone[0]["interval"])


def test_nets_that_were_tested_elsewhere_are_told(runs, tmp_path):
    for folder in (runs / "delays").iterdir():
        edit(folder / "result.json", lambda result: result.update(steps=60))
        seeds = json.loads((folder / "result.json").read_text())["seeds"]
        for step, delay in ((60, 40), (60, 80), (20, 99)):  # the last is not of the final net
            told = {"step": step, "changed": {"task.delay": delay}, "seeds": seeds}
            (folder / f"evaluation-{step}-{delay}.json").write_text(json.dumps(told))
    run = collect(runs)["delays"][0]
    assert [other.config["task.delay"] for other in run.elsewhere] == [40, 80]
    page, files = Page("x"), Files(tmp_path / "files")
    add_group(page, files, "delays", collect(runs)["delays"][:3])
    assert "not trained on" in page.html
    assert "80" in (tmp_path / "files" / "delays-elsewhere.csv").read_text()


def test_a_seed_that_diverged_is_shown(runs):
    def diverge(result):
        result["seeds"][1]["diverged_after"] = 7

    folder = next(iter(sorted((runs / "delays").iterdir())))
    edit(folder / "result.json", diverge)
    rows = results_table(collect(runs)["delays"])
    assert [row["diverged"] for row in rows].count(1) == 1
    figure = performance(collect(runs)["delays"][:3])
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert markers.count("x") == 2  # on and off


def test_one_seed_on_a_plateau_does_not_cost_the_axis_its_logarithm(runs):
    def solve(result):
        for record, mse in zip(result["seeds"], (1e-4, 2e-4, 0.08), strict=True):
            for part in ("metrics", "metrics_plasticity_off"):
                record[part] = {"query_mse": told(mse)}
        result["main_metric"] = "query_mse"

    edit(runs / "alone" / "result.json", solve)
    (axes,) = performance(collect(runs)["alone"]).axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < 1e-4


def test_commands_can_be_typed():
    worker = ["/a/experiments/reproduce.py", "--preset=full", "--tasks=", "--only=12ab"]
    assert command(worker) == "python -m experiments.reproduce --preset=full"


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="holds no finished run"):
        collect(tmp_path)


def test_report(program, runs, tmp_path):
    out = tmp_path / "report.html"
    args = ["report", f"--runs={runs}", f"--out={out}"]
    code, _, err = program(*args)
    assert code == 0, err
    page = out.read_text()
    for expected in (
        "too hot",
        "no images",
        "not supported",
        "A &amp; B_c",
        "How long?",
        "delays",
        "python -m experiments.launch &#x27;&lt;b&gt;&#x27;",
    ):
        assert expected in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'src="http' not in page
    assert "<script" not in page
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


def test_text_is_escaped():
    page = Page("<script>")
    page.text("a < b")
    page.table([{"x": "<i>", "y": 0.123456}], marked="x")
    assert "<script>" not in page.html
    assert "a &lt; b" in page.html
    assert '<td class="number">0.1235</td>' in page.html


def test_latex():
    table = latex([{"rule": "a_b & 50 %", "loss": 0.5}])
    assert r"a\_b \& 50 \% & 0.5 \\" in table
    assert r"\begin{tabular}{lr}" in table


def test_what_goes_with_a_rule_does_not_set_runs_of_other_rules_apart(tmp_path):
    for rule, width in (("none", 384), ("hebbian", 256)):
        folder = tmp_path / "runs" / rule
        make_run(folder, rule, 20, 0.5)
        edit(folder / "config.json", lambda c, width=width: c["model"].update(hidden=width))
    (runs,) = collect(tmp_path).values()
    assert varied(runs) == ["model.hidden"]  # told in tables
    assert varied_within_rules(runs) == []  # drawn in one panel
    assert [run.rule for run in runs] == ["none", "hebbian"]


@pytest.mark.parametrize(
    ("direction", "margin", "log", "claim", "of"),
    [
        ("less", 0.002, False, "at most 0.002 more", "difference"),
        ("more", -0.1, False, "more by 0.1", "difference"),
        ("less", 0.0, True, "less", "ratio"),
    ],
)
def test_evidence_is_told_as_what_it_is(direction, margin, log, claim, of):
    told = {"study": "s", "claimed": "a", "other": "b", "direction": direction, "margin": margin}
    row = evidence_row(told | {"log": log, "mean": 0.5, "p": 0.5})
    assert (row["claim"], row["of"], row["p"], row["low"]) == (claim, of, 0.5, None)
    assert row["mean"] == pytest.approx(np.exp(0.5) if log else 0.5)
