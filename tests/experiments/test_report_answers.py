"""What a report says first, and the figures that follow from what varies between the runs."""

import itertools
import json

import numpy as np
import pytest

from plasticity.configs.studies import PRESETS, QUESTIONS
from plasticity.experiments.reports import answers, figures, series
from plasticity.experiments.reports.collect import collect
from plasticity.experiments.reports.forest import drawn_claims, effects, forest, matter
from plasticity.experiments.reports.found import found_in
from plasticity.experiments.reports.labels import variants, varied, varied_within_rules
from plasticity.experiments.reports.performance import (
    evaluated_under,
    heat_maps,
    numeric_axis,
    performance,
    score_table,
)
from plasticity.experiments.reports.sections import Files, group_section, write_report
from tests.experiments.run_folders import edit, make_run, summary


def record(mean, half=0.01, **changed):
    """The evidence of a comparison."""
    interval = {"mean": mean, "low": mean - half, "high": mean + half, "p": 0.01, "n": 5}
    sides = {"study": "s", "claimed": "a", "other": "b", "direction": "more"}
    return sides | {"margin": 0.0, "log": False, "matters": 0.05} | interval | changed


def claim(verdict, *evidence, source="ours", **more):
    return (
        {"claim": f"{verdict} < claim", "source": source, "verdict": verdict}
        | more
        | {
            "p_adjusted": 0.0123456,
            "evidence": list(evidence),
        }
    )


def test_every_campaign_has_a_question():
    assert QUESTIONS.keys() == PRESETS.keys()
    assert all(question.endswith("?") for question in QUESTIONS.values())


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["undecided", "supported", "opposite"], "1 of 3 claims is supported, 1 opposite, 1 un"),
        (["supported"] * 2, "2 of 2 claims are supported."),
        (
            ["no evidence", "not supported"],
            "0 of 1 claims are supported, 1 not supported; 1 not tested yet.",
        ),
    ],
)
def test_the_answer_counts_verdicts(verdicts, sentence):
    assert answers.of_verdicts(list(map(claim, verdicts))).startswith(sentence)


def test_sources_are_counted_apart_where_there_are_several():
    claims = [claim("supported"), claim("opposite", source="paper")]
    untested = claim("no evidence", source="another")
    assert "ours, 1 of 1; paper, 0 of 1." in answers.by_source([*claims, untested])
    assert not answers.by_source([claims[0], untested])


def test_where_the_task_changes_the_answer_is_that_of_both_ends(tmp_path):
    scores = {100: (0.2, 0.3), 5: (0.9, 0.4), 20: (0.5, 0.5)}  # of hebbian, none
    for delay, values in scores.items():
        for rule, value in zip(("hebbian", "none"), values, strict=True):
            folder = make_run(tmp_path / f"{rule}{delay}", rule, value=value, seeds=1)
            edit(folder / "config.json", lambda c, delay=delay: c["task"].update(delay=delay))
    groups = collect(tmp_path)
    asked, answer = answers.question_and_answer(found_in(tmp_path, []), groups)
    assert asked == (
        "How good are networks at copying as its delay changes, and how much of it is plasticity?"
    )
    assert answer.startswith("At delay 5: Best of 2 runs: hebbian, with recall accuracy 0.896 ")
    assert " At delay 100: Best of 2 runs: none, with recall accuracy 0.296 " in answer


@pytest.mark.parametrize(("metric", "best"), [("recall_accuracy", "hebbian"), ("loss", "none")])
def test_the_answer_is_the_best_run_by_its_metric(tmp_path, metric, best):
    for rule, value in (("none", 0.1), ("hebbian", 0.9)):
        folder = make_run(tmp_path / rule, rule, value=value, seeds=1)

        def rename(result):
            result["main_metric"] = metric
            for part in ("metrics", "metrics_plasticity_off"):
                result[part][metric] = result[part]["recall_accuracy"]

        edit(folder / "result.json", rename)
    (runs,) = collect(tmp_path).values()
    said = answers.of_runs(runs)
    assert said.startswith(f"Best of 2 runs: {best}, with")
    assert ("plasticity off" in said) == (best != "none")
    assert "chance level 0.125" in said


def test_effects_are_signed_and_in_units_of_what_matters():
    less = record(-0.1, direction="less", margin=0.05, matters=0.05)
    strong = record(1.0)
    found = effects(claim("supported", strong, less), in_what_matters=True)
    assert found[0] == pytest.approx((1.5, 1.4, 1.6))  # the weakest comparison comes first
    assert found[1] == pytest.approx((20, 19.8, 20.2))


def test_the_figure_of_claims_leaves_out_those_without_evidence():
    missing = dict.fromkeys(("mean", "low", "high"))
    claims = [
        claim("undecided", record(1e6), name="a/b"),
        claim("no evidence", record(0.0) | missing),
        claim("supported", record(0.2, half=0.0) | {"matters": None}),
    ]
    drawn = drawn_claims(claims)
    assert [one["verdict"] for one in drawn] == ["supported", "undecided"]
    assert not matter(drawn)  # an older verdict does not say what would matter
    (axes,) = forest(drawn, 1).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["supported < claim", "a: b"]
    assert axes.get_xlim()[1] < 200


def widths(folder):
    """Runs over width with two delays, whose number of steps follows."""
    for delay, sizes in ((10, (8, 16, 64)), (20, (8, 16))):
        for width in sizes:
            for rule in ("none", "hebbian"):
                run = make_run(folder / f"{delay}-{width}-{rule}", rule, delay, width / 100)
                edit(run / "config.json", lambda c, w=width: c["model"].update(width=w))
                edit(run / "config.json", lambda c, d=delay: c["evaluate"].update(batch=d))


def test_two_numeric_fields_make_an_axis_and_panels(tmp_path):
    widths(tmp_path)
    (runs,) = collect(tmp_path).values()
    axis, others = numeric_axis(runs, varied_within_rules(runs))
    assert axis == "model.width"
    assert set(others) == {"task.delay", "evaluate.batch"}
    panels = [axes for axes in performance(runs).axes if axes.get_visible()]
    assert len(panels) == 2
    assert all(axes.get_xlabel() == "width" for axes in panels)


def test_settings_changed_one_at_a_time_make_rows(tmp_path):
    changes = [
        {},
        *(
            {name: value}
            for name in ("clip", "warmup", "eta0_warmup", "learning_rate")
            for value in (7, 9)
        ),
    ]
    for index, change in enumerate(changes):
        run = make_run(tmp_path / str(index))
        edit(run / "config.json", lambda config, own=change: config["train"].update(own))
    (runs,) = collect(tmp_path).values()
    assert numeric_axis(runs, varied_within_rules(runs)) is None
    rows = [label.get_text() for label in performance(runs).axes[0].get_yticklabels()]
    assert len(set(rows)) == len(runs) == 9
    assert {"hebbian", "hebbian, warmup 7"} <= set(rows), "what most runs share is left out"


def test_fields_that_change_together_have_one_name(tmp_path):
    for heads, field in itertools.product((0, 1), ("", "delay")):
        folder = make_run(tmp_path / f"{heads}{field}", "hebbian")
        own = {"field": field, "stages": "1,2" if field else "", "until": 0.9 if field else 0.0}

        def change(config, own=own, heads=heads):
            config["curriculum"].update(own)
            config["model"]["heads"] = heads

        edit(folder / "config.json", change)
    (runs,) = collect(tmp_path).values()
    assert sorted(variants(runs, varied(runs))) == [
        f"{field}, heads {heads}" for field in ("field delay", "no field") for heads in (0, 1)
    ]


def evaluated(folder, rule, values):
    """A run that was tested at delays x phases."""
    run = make_run(folder / rule, rule, seeds=1)
    off = {"recall_accuracy": summary(0.1)}
    for index, ((delay, where), value) in enumerate(values.items()):
        content = {"step": 60, "changed": {"task.delay": delay, "task.symbols": where}, "seed": 0}
        content |= {"metrics": {"recall_accuracy": summary(value)}, "metrics_plasticity_off": off}
        suffix = f"-{index + 1}" if index else ""
        (run / f"evaluation-60{suffix}.json").write_text(json.dumps(content))


def test_cells_of_a_heat_map_are_the_evaluations(tmp_path):
    places = ["early", "middle", "late"]
    values = {(d, p): d / 1000 + i / 10 for i, p in enumerate(places) for d in (40, 10, 80, 160)}
    for rule in ("hebbian", "gradient"):
        evaluated(tmp_path, rule, values)
    (runs,) = collect(tmp_path).values()
    settings = evaluated_under(runs)
    assert settings == {"task.delay": [10, 40, 80, 160], "task.symbols": places}
    table = score_table(runs[0], settings)
    assert table.tolist() == [[values[d, p] for p in places] for d in (10, 40, 80, 160)]
    figure = heat_maps(runs)
    assert [axes.get_title() for axes in figure.axes] == ["hebbian", "gradient"]
    printed = [text.get_text() for text in figure.axes[0].texts]
    assert printed == [f"{value:.3g}" for value in table.flat]


def test_one_setting_makes_no_heat_map(tmp_path):
    evaluated(tmp_path, "hebbian", {(40, "early"): 0.5, (80, "early"): 0.6})
    (runs,) = collect(tmp_path).values()
    assert heat_maps(runs) is None


def test_families_of_numbered_metrics_are_drawn(tmp_path):
    names = ["horizon_2", "horizon_3", "horizon_10", "position_1", "position_2", "early_x"]

    def number(result):
        for own in (result, *result["seeds"]):
            for part in ("metrics", "metrics_plasticity_off"):
                own[part] |= {name: summary(0.1 * index) for index, name in enumerate(names)}

    edit(make_run(tmp_path / "a") / "result.json", number)
    make_run(tmp_path / "b", "none")  # without these metrics
    (runs,) = collect(tmp_path).values()
    assert series.families(runs) == {"horizon": [2, 3, 10]}
    section = group_section(Files(tmp_path / "files"), "x", runs)
    assert list(section["families"]) == ["horizon"]
    (axes,) = series.family(runs, "horizon", [2, 3, 10]).axes
    drawn = [line.get_ydata() for line in axes.lines]
    assert np.allclose(drawn[1], [0, 0.1, 0.2]), "on"
    assert len(drawn) == 3  # none; hebbian on and off


def test_the_tasks_of_a_stream_are_a_heat_map(tmp_path):
    matrix = [[0.0, 0.1], [0.9, 0.2], [0.3, 0.8]]

    def learn(result):
        for own in (result, *result["seeds"]):
            own["stream"] = matrix

    edit(make_run(tmp_path / "a") / "result.json", learn)
    (runs,) = collect(tmp_path).values()
    (axes,) = series.matrices(runs).axes
    np.testing.assert_allclose(axes.images[0].get_array(), matrix)
    assert series.matrices([runs[0]._replace(seeds=[{}])]) is None


def test_a_folder_without_runs_is_shown_by_its_files(program, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    out = f"--out={root / 'conditioning.json'}"
    assert program("conditioning", "--rules=delta", out)[0] == 0
    problems = []
    write_report(root, collect(root), problems, tmp_path / "o.html", tmp_path / "o_files")
    page = (tmp_path / "o.html").read_text()
    assert not problems
    assert "Of 1 rules, so many show each effect: acquisition 1" in page
    assert f"conditioning --rules=delta {out}" in page
    assert (tmp_path / "o_files" / "conditioning.svg").exists()


def test_the_first_screen_is_question_answer_and_figure(tmp_path):
    root = tmp_path / "root"
    make_run(root / "s" / "a")
    before = {"verdict": "opposite", "p_adjusted": 0.98765}
    claims = [
        claim("no evidence"),
        claim("supported", record(0.3), before=before, because="3 paired seeds < 4."),
    ]
    (root / "verdicts.json").write_text(json.dumps(claims))
    (root / "results.json").write_text(json.dumps({"preset": "memories"}))
    write_report(root, collect(root), [], tmp_path / "o.html", tmp_path / "o_files")
    page = (tmp_path / "o.html").read_text()
    parts = [
        f"<h1>{QUESTIONS['memories']}",
        "1 of 1 claims is supported; 1 not",
        "<figure>",
        "<nav>",
    ]
    parts += ["How to read this page", ">supported &lt; claim<", "(p = 0.0123); before: ", "0.988"]
    parts += ["3 paired seeds &lt; 4.", "<summary>Evidence", "no evidence &lt; claim"]
    places = [page.index(part) for part in parts]
    assert places == sorted(places)


def test_rules_of_the_library_have_styles_of_their_own():
    styles = list(map(figures.style, figures.RULES))
    assert len(set(styles)) == len(styles)


def test_a_third_setting_makes_no_heat_map(tmp_path):
    """A cell would be one of several values."""
    values = {(d, p): d / 100 for p in ("early", "late") for d in (20, 40)}
    evaluated(tmp_path, "hebbian", values)
    (runs,) = collect(tmp_path).values()
    assert heat_maps(runs) is not None
    for name in ("evaluation-60.json", "evaluation-60-3.json"):
        edit(tmp_path / "hebbian" / name, lambda e: e["changed"].update({"rule.eta0": 0.5}))
    (runs,) = collect(tmp_path).values()
    assert heat_maps(runs) is None


def test_a_setting_of_one_model_tells_its_runs_apart(tmp_path):
    """With one run of each model, its name says it all."""
    models = {"open": {"attention_window": 0}, "closed": {"attention_window": -1}, "rnn": None}
    for name, changed in models.items():
        folder = make_run(tmp_path / "runs" / name)
        if changed:
            edit(folder / "config.json", lambda c, changed=changed: c["model"].update(changed))
        else:
            edit(folder / "config.json", lambda c: c.update(model={"name": "rnn", "hidden": 64}))
    (runs,) = collect(tmp_path).values()
    assert {*variants(runs, varied(runs))} == {
        "name transformer, full attention",
        "name transformer, attention closed",
        "name rnn",
    }
    assert varied([run for run in runs if run.config.get("model.attention_window") != -1]) == [
        "model.name"
    ]


def test_a_chance_level_is_drawn_where_all_runs_have_it(tmp_path):
    for delay in (10, 20, 40):
        make_run(tmp_path / "runs" / str(delay), delay=delay)

    def levels():
        (runs,) = collect(tmp_path).values()
        lines = performance(runs).axes[0].lines
        return [line.get_ydata()[0] for line in lines if line.get_linestyle() == ":"]

    assert levels() == [0.125]
    edit(tmp_path / "runs/40/result.json", lambda r: r.update(chance=0.5))
    assert levels() == []


def test_a_folder_may_be_called_like_checkpoints(tmp_path):
    make_run(tmp_path / "checkpoints_every" / "one")
    make_run(make_run(tmp_path / "two", delay=40) / "checkpoints" / "three", delay=60)
    found = [run.config["task.delay"] for runs in collect(tmp_path).values() for run in runs]
    assert sorted(found) == [20, 40]
