"""Tables and verdicts, on made-up results that support a claim, oppose it, or decide nothing."""

import itertools
import json

import numpy as np
import pytest

from plasticity.configs.claim_lists import CLAIMS
from plasticity.configs.claims import Claim, Comparison, Side
from plasticity.configs.probe_claims import probe_claims
from plasticity.configs.probes import PROBES
from plasticity.configs.published import TABLES
from plasticity.configs.studies import PRESETS
from plasticity.configs.study import Study
from plasticity.experiments import build
from plasticity.experiments.probing.designs import EFFECTS
from plasticity.experiments.probing.time_scales import SCALARS
from plasticity.experiments.reports.campaigns import (
    because,
    earlier_verdicts,
    paired_seeds,
    power_plan,
    side_by_side,
)
from plasticity.experiments.reports.compare import (
    NO_EVIDENCE,
    decide_claims,
    published_table,
    within,
)
from plasticity.experiments.reports.statistics import power_of
from plasticity.experiments.run.evaluate import may_change
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.run.transfer import MEASURES
from plasticity.experiments.sweeps.campaign import config_field, points_of
from plasticity.experiments.sweeps.points import Point
from tests.conftest import ROOT

# Metrics of every analysis: see test_analysis.
ANALYSIS = {"eta", "gate", "gating_index", "gating_index_gate", "gating_index_size"}
# See test_probes.
AGES = {f"{metric}_{age}" for metric in ("mse", "accuracy") for age in ("oldest", "newest")}
PROBED = {"interference": {"mse", "accuracy", "expected", *AGES}}
PROBED["conditioning"] = {*EFFECTS, "criterion"}
PROBED["concept_shift"] = {"homeostatic", "fixed", "advantage"}
A, B = {"rule.name": "hebbian"}, {"rule.name": "none"}
LESS = Claim(
    "less",
    "hebbian has less",
    "test",
    [Comparison("s", Side(A, "loss"), Side(B, "loss"), lower=True, matters=0.1)],
)


def on_untrained(preset, claim):
    return {c.study for c in claim.comparisons} <= PROBES.get(preset, dict)().keys()


def rows(hebbian, none, study="s"):
    return [
        {"study": study, "seed": seed, "loss": value, **side}
        for side, values in ((A, hebbian), (B, none))
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("hebbian", "none", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.1], [2.0, 3.1, 4.0, 5.0], "supported"),
        ([2.0, 3.1, 4.0, 5.0], [1.0, 2.0, 3.0, 4.1], "opposite"),
        ([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0], "undecided"),
        ([1.0, 2.0, 3.0, 4.0], [1.01, 1.99, 3.02, 3.98], "not supported"),
        ([1.0, 2.0], [], NO_EVIDENCE),
        ([1.0], [2.0], NO_EVIDENCE),
    ],
)
def test_verdicts_follow_the_results(hebbian, none, expected):
    assert decide_claims(rows(hebbian, none), [LESS])[0]["verdict"] == expected


def test_seeds_are_paired_not_pooled():
    """A difference within seeds is found although the spread between seeds is far larger."""
    spread = np.array([0.0, 10.0, 20.0, 30.0])
    noise = np.array([0.0, 0.01, -0.01, 0.005])
    found = decide_claims(rows(spread, spread + 0.1 + noise), [LESS])[0]
    assert found["verdict"] == "supported"
    # The difference is claimed - other, whichever sign is claimed.
    assert found["evidence"][0]["mean"] == pytest.approx(-0.1 - noise.mean())


def test_every_comparison_must_hold():
    both = Claim(
        "both",
        "both",
        "test",
        [*LESS.comparisons, Comparison("s", Side(B, "loss"), Side(A, "loss"), True)],
    )
    verdicts = decide_claims(rows([1.0, 2.0, 3.0, 4.1], [2.0, 3.1, 4.0, 5.0]), [LESS, both])
    assert [claim["verdict"] for claim in verdicts] == ["supported", "not supported"]


def test_p_values_are_adjusted_for_the_claims_of_one_source():
    data = rows([1.0, 2.0, 3.0, 4.0], [1.5, 2.2, 3.6, 4.2])
    (alone,) = decide_claims(data, [LESS])
    assert alone["verdict"] == "supported"
    assert alone["p_adjusted"] == alone["p"] == alone["evidence"][0]["p"]
    unknown = LESS._replace(comparisons=[LESS.comparisons[0]._replace(study="not run")])
    among = decide_claims(data, [LESS, *[unknown] * 19])[0]
    assert among["p_adjusted"] == pytest.approx(20 * alone["p"])  # whatever else has been run
    assert among["verdict"] == "undecided"
    others = decide_claims(data, [LESS, *[LESS._replace(source="elsewhere")] * 19])[0]
    assert others["verdict"] == "supported"


def test_logarithms_compare_ratios():
    """Ratios are a tenth each; among the plain differences, one pair dominates the others."""
    none = np.array([1e-4, 2e-4, 3e-2, 4e-4])
    hebbian = none / np.array([10, 11, 10, 9])
    assert decide_claims(rows(hebbian, none), [LESS])[0]["verdict"] == "not supported"
    ratios = LESS._replace(comparisons=[LESS.comparisons[0]._replace(log=True)])
    (found,) = decide_claims(rows(hebbian, none), [ratios])
    assert found["verdict"] == "supported"
    assert np.exp(found["evidence"][0]["mean"]) == pytest.approx(0.1, rel=0.01)


def test_the_ratio_of_a_loss_of_zero_is_that_to_the_best_of_the_others():
    """Perfect networks are not left out, which would turn the verdict."""
    ratios = LESS._replace(comparisons=[LESS.comparisons[0]._replace(log=True)])
    none = [0.020, 0.021, 0.022, 0.023, 0.024]
    (found,) = decide_claims(rows([0.0, 0.0, 0.0, 0.002, 0.0021], none), [ratios])
    assert (found["evidence"][0]["n"], found["verdict"]) == (5, "supported")
    assert np.exp(found["evidence"][0]["mean"]) == pytest.approx(0.002 / 0.022, rel=0.02)
    (found,) = decide_claims(rows([0.0] * 5, [0.0] * 5), [ratios])
    assert found["evidence"][0]["mean"] == 0


def test_an_effect_that_is_smaller_than_claimed_is_not_opposite():
    by_much = LESS._replace(comparisons=[LESS.comparisons[0]._replace(margin=-0.2)])
    little = np.array([0.1, 0.101, 0.099, 0.1, 0.1005])
    for effect, expected in ((little, "not supported"), (-little, "opposite")):
        assert decide_claims(rows(2 - effect, np.full(5, 2.0)), [by_much])[0]["verdict"] == expected


def test_a_claim_that_names_no_size_says_so():
    nameless = LESS._replace(comparisons=[LESS.comparisons[0]._replace(matters=0.0)])
    (found,) = decide_claims(rows([1.0, 2.0, 3.0], [2.0, 1.0, 3.5]), [nameless])
    assert found["verdict"] == "undecided"
    assert because(found).endswith("; its source names no difference that would matter.")


def test_networks_that_diverged_or_failed_get_the_score_of_the_claim():
    """A failed run has no metrics; a diverged network has those of its last finite parameters."""
    scored = LESS._replace(comparisons=[LESS.comparisons[0]._replace(score_if_diverged=9.0)])
    data = rows([1.0, 1.1, 1.2, 1.3], [0.5, 0.61, 0.72, 0.79])
    assert decide_claims(data, [scored])[0]["verdict"] == "opposite"
    for end in ("diverged", "exploded"):
        broken = [r | {f"{end}_after": 3} if "none" in r.values() else r for r in data]
        (found,) = decide_claims(broken, [scored])
        assert (found["verdict"], found["evidence"][0][end]) == ("supported", 4)
    failed = [{"study": "s", "seed": seed, **B} for seed in range(4)]
    (found,) = decide_claims(rows([1.0, 1.1, 1.2, 1.3], []), [scored], failed)
    assert (found["verdict"], found["evidence"][0]["failed"]) == ("supported", 4)
    assert decide_claims(data[:4], [LESS], failed)[0]["verdict"] == NO_EVIDENCE


def test_what_is_not_a_finite_number_is_no_evidence():
    for nothing in (None, float("nan"), float("inf"), "0.5", True):
        data = rows([1.0, nothing, nothing], [2.0, 2.1, 2.2])
        (found,) = decide_claims(data, [LESS])
        assert (found["verdict"], found["evidence"][0]["without a value"]) == (NO_EVIDENCE, 2)
    (found,) = decide_claims(rows([1.0, 1.1, None], [2.0, 2.1, 2.2]), [LESS])
    assert (found["evidence"][0]["n"], found["evidence"][0]["without a value"]) == (2, 1)
    assert ", 1 without a value" in because(found)


def test_a_margin_allows_for_a_small_loss():
    little_worse = rows([1.001, 2.002, 3.001, 4.002], [1.0, 2.0, 3.0, 4.0])
    for margin, expected in ((0.1, "supported"), (0.0, "opposite")):
        comparison = LESS.comparisons[0]._replace(margin=margin)
        claim = Claim("close", "close", "test", [comparison])
        (found,) = decide_claims(little_worse, [claim])
        assert found["verdict"] == expected
        # The margin is beside the difference, not in it.
        assert found["evidence"][0]["margin"] == margin
        assert found["evidence"][0]["mean"] == pytest.approx(0.0015)
        assert found["evidence"][0]["low"] > 0


def test_an_undecided_claim_says_how_many_seeds_it_needs():
    """Over 12 seeds of the same spread, an effect that matters is seen four times out of five."""
    differences = np.array([-0.3, 0.2, 0.1, -0.25, 0.05])
    (found,) = decide_claims(rows(differences + 1, np.ones(5)), [LESS])
    (record,) = found["evidence"]
    assert found["verdict"] == "undecided"
    deviation = differences.std(ddof=1)
    assert record["deviation"] == pytest.approx(deviation)
    needed = found["seeds_needed"]
    assert (
        power_of(0.1, deviation, needed, 0.05) >= 0.8 > power_of(0.1, deviation, needed - 1, 0.05)
    )
    assert power_of(record["smallest_effect"], deviation, 5, 0.05) == pytest.approx(0.8)
    assert "would need" in because(found)
    twenty = [LESS, *[LESS._replace(comparisons=[])] * 19]
    stricter = decide_claims(rows(differences + 1, np.ones(5)), twenty)[0]
    assert stricter["seeds_needed"] > needed  # at Holm's strictest level


def test_an_undecided_claim_also_says_what_the_observed_effect_needs():
    """A large mean of few seeds: the smallest effect that matters needs far more than it does."""
    lower = [-1.2, -0.1, -0.9, -0.2]
    (found,) = decide_claims(rows([3 + d for d in lower], [3.0] * 4), [LESS])
    assert found["verdict"] == "undecided"
    few, many = found["seeds_if_observed"], found["seeds_needed"]
    deviation = np.std(lower, ddof=1)
    assert power_of(0.6, deviation, few, 0.05) >= 0.8 > power_of(0.6, deviation, few - 1, 0.05)
    assert few < many / 10
    assert f"{many} seeds to see the smallest effect that matters, {few} if" in because(found)


def test_claims_stand_beside_their_earlier_verdicts():
    one, two = (rows([1.0, 2.0, 3.0, 4.1], [2.0, 3.1, 4.0, last]) for last in (1.0, 5.0))
    budget = {"train_episodes": 64}
    before = decide_claims([row | budget for row in one], [LESS])
    (row,) = side_by_side(decide_claims(two, [LESS]), {"less": before[0]})
    assert (row["verdict"], row["before"]["verdict"]) == ("supported", "undecided")
    assert row["before"]["train_episodes"] == [64, 64]
    assert row["because"].startswith("4 paired seeds: loss: hebbian against none, difference -1 [")
    assert side_by_side([row], {})[0]["before"] is None
    plan = power_plan([LESS], {"less": before[0]}, {"s": 100})
    spread = before[0]["evidence"][0]["deviation"]
    assert power_of(plan[0]["smallest_effect"], spread, 100, 0.05) == pytest.approx(0.8)


def test_power_is_planned_by_the_spread_of_the_same_metric():
    (before,) = decide_claims(rows([1.0, 2.0, 3.0], [2.0, 3.1, 4.0]), [LESS])
    (comparison,) = LESS.comparisons
    sides = comparison.claimed, comparison.other
    recall = [side._replace(metric="recall_accuracy") for side in sides]
    changed = comparison._replace(claimed=recall[0], other=recall[1])
    claim = LESS._replace(comparisons=[changed, comparison])
    (row,) = power_plan([claim], {"less": before}, {"s": 3})
    assert row["claimed"].startswith("loss: ")


def test_power_is_planned_by_the_spread_of_the_same_study():
    """Two comparisons of the same sides, of which one varies more."""
    (comparison,) = LESS.comparisons
    claim = LESS._replace(comparisons=[comparison._replace(study=study) for study in ("s", "t")])
    steady = rows([1.0, 2.0, 3.0], [2.0, 3.1, 4.0]), rows([1.0, 2.0, 3.0], [2.0, 3.1, 9.0], "t")
    (before,) = decide_claims([row for study in steady for row in study], [claim])
    plan = power_plan([claim], {"less": before}, {"s": 3, "t": 3})
    assert [row["study"] for row in plan] == ["s", "t"]
    assert 10 * plan[0]["deviation"] < plan[1]["deviation"]


def test_points_that_differ_in_their_seed_are_seeds_of_one():
    points = [("s", {"rule.name": "none", "seed": seed}, 1) for seed in range(4)]
    points += [("s", {"rule.name": "hebbian", "seed": seed}, 1) for seed in range(3)]
    assert paired_seeds([*points, ("t", {}, 5), ("t", {"seed": 5}, 2)]) == {"s": 3, "t": 7}
    (before,) = decide_claims(rows([1.0, 2.0, 3.0], [2.0, 3.1, 4.0]), [LESS])
    assert power_plan([LESS], {"less": before}, {"s": 1}) == []


def test_a_tie_is_no_evidence_against_a_claim_of_as_good_as():
    """Margin .05: a difference of 0 is what is claimed, though the seeds were too few to say so."""
    (comparison,) = LESS.comparisons
    equal = LESS._replace(comparisons=[comparison._replace(margin=0.05, matters=0.05)])
    claims = [equal, *[LESS._replace(name="other", comparisons=[])] * 13]
    hebbian = [1.006, 2.0, 2.994]
    (found, *_) = decide_claims(rows(hebbian, [1.0, 2.0, 3.0]), claims)
    assert found["evidence"][0]["high"] < 0.05
    assert found["verdict"] == "undecided"
    worse = [value + 0.2 for value in hebbian]
    assert decide_claims(rows(worse, [1.0, 2.0, 3.0]), claims)[0]["verdict"] != "undecided"


def test_equal_differences_of_a_few_seeds_decide_nothing():
    """An interval without width is no certainty: five equal signs have p = .06, six .03."""
    for n, expected in ((5, "undecided"), (6, "not supported")):
        (found,) = decide_claims(rows([1.0] * n, [1.0] * n), [LESS])
        assert found["verdict"] == expected
        assert (found["evidence"][0]["smallest_effect"] is None) == (n == 5)


def test_evidence_tells_comparisons_of_the_same_sides_apart():
    """By what differs between them: the study, or a field that both sides share."""
    (comparison,) = LESS.comparisons
    sides = comparison.claimed, comparison.other
    at = [
        comparison._replace(claimed=one, other=two, study=study)
        for study, rate in (("s", 0.1), ("s", 0.2), ("deep_one", 0.1))
        for one, two in [
            [
                side._replace(where={**side.where, "task.delay": 5, "train.learning_rate": rate})
                for side in sides
            ]
        ]
    ]
    found = [
        row | {"task.delay": 5, "train.learning_rate": c.claimed.where["train.learning_rate"]}
        for c in at
        for row in rows([1.0, 2.0, 3.0], [2.0, 3.1, 4.0], c.study)
    ]
    (claim,) = decide_claims(found, [LESS._replace(comparisons=at)])
    parts = because(claim).split("; ")
    assert "hebbian against none, s, learning rate 0.1, difference" in parts[0]
    assert "hebbian against none, s, learning rate 0.2, difference" in parts[1]
    assert "hebbian against none, deep one, learning rate 0.1, difference" in parts[2]
    assert "delay" not in because(claim)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": "nosuch"}, "budget='nosuch' must be one of"),
        ({"rows": [3]}, r"rows\[0\]=3 has the wrong type"),
        ({"rows": [{"seed": 0}]}, r"no field 'rows\[0\].study'"),
        ({"rows": [{"study": "copying"}]}, r"no field 'rows\[0\].seed'"),
        ({"rows": [{"study": "delay", "seed": 0, "rule.name": "gradient", "task.delay": 100}] * 2},
         "more than one point of the study 'delay'"),
        (None, "holds no results.json"),
    ],
)  # fmt: skip
def test_damaged_results_of_an_earlier_campaign_are_named(change, message, tmp_path):
    if change is not None:
        results = {"preset": "full", "budget": "standard", "rows": []} | change
        (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(DamagedFileError, match=message):
        earlier_verdicts(tmp_path)


@pytest.mark.slow
def test_the_recorded_campaign_can_be_compared_with():
    found = earlier_verdicts(ROOT / "experiments/results/full")
    assert len(found) == len(CLAIMS["full"]())
    assert found["gradient best/copying over 100 steps"]["verdict"] == "undecided"
    budgets = [record["train_episodes"] for c in found.values() for record in c["evidence"]]
    assert all(budgets)
    with pytest.raises(DamagedFileError, match="'paper', which tests no claims"):
        earlier_verdicts(ROOT / "experiments/results/paper")


def test_ambiguous_runs_are_an_error():
    with pytest.raises(ValueError, match="more than one point"):
        decide_claims(rows([1.0, 2.0], [1.0, 2.0]) * 2, [LESS])


def test_published_cells_count_in_published_deviations():
    own = [
        {"study": "omniglot", "rule.name": "none", "seed": s, "accuracy": a, "eta_mean": 0.0}
        for s, a in enumerate((0.19, 0.21, 0.25))
    ]
    table = published_table(own)
    accuracy = next(row for row in table if row["metric"] == "accuracy")
    mean, deviation = TABLES["omniglot"]["none"]["accuracy"]
    assert accuracy["ours"] == pytest.approx(0.65 / 3)
    assert accuracy["distance"] == pytest.approx((0.65 / 3 - mean) / deviation)
    assert within(table, 1) == (0, 1)
    assert within(table, 2) == (1, 1)


def _without_seed(config):
    return {name: value for name, value in config.to_dict().items() if name != "seed"}


def metrics_of(config):
    """The metrics of the test."""
    of_stream = [*MEASURES, "touched"] if config.task.get("tasks", 1) > 1 else []
    if config.task.name == "few_shot":  # images are not at hand everywhere
        return ["accuracy", *of_stream]
    return build.make_task(config)._replace(training=None).metric_names + of_stream


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The configs of all presets, by study, each also under the overrides of `elsewhere`."""
    found = {}
    for preset, studies in PRESETS.items():
        for name, study in studies().items():
            points = points_of(tmp_path_factory.mktemp("none"), name, study, {})
            own = found.setdefault(preset, {}).setdefault(name, [])
            for point, elsewhere in itertools.product(points, ({}, *study.elsewhere)):
                config = point.config()
                config.update_from_flattened_dict(elsewhere)
                own.append((study, config))
    return found


def test_every_point_of_a_preset_is_a_config(cells):
    assert set(cells["paper"]) == set(TABLES)
    studies = [study for preset in cells.values() for own in preset.values() for study, _ in own]
    assert all(isinstance(study.about, str) for study in studies)
    fields = {field for study in studies for own in study.elsewhere for field in own}
    assert {"task.delay", "model.attention_window"} < fields
    assert all(map(may_change, fields))  # else found only when the trained net is evaluated


@pytest.mark.parametrize(
    ("preset", "claim"),
    [(p, c) for p, claims in CLAIMS.items() for c in claims() if not on_untrained(p, c)],
)
def test_the_runs_of_every_claim_are_made(cells, preset, claim):
    """A misspelt field would be found only after all the training."""
    for comparison in claim.comparisons:
        for side in (comparison.claimed, comparison.other):
            matching = [
                (study, config)
                for study, config in cells[preset][comparison.study]
                if all(config_field(config, f) == value for f, value in side.where.items())
            ]
            study, config = matching[0]
            # One point, of several seeds or of a run for each.
            assert len({json.dumps(_without_seed(c), sort_keys=True) for _, c in matching}) == 1
            assert len({c.seed for _, c in matching}) == len(matching)
            metric = side.metric.removesuffix("_off")
            if metric in {"loss", *metrics_of(config)}:
                continue
            if study.time_scales and metric.removesuffix("_untrained") in SCALARS:
                continue
            if config.curriculum.until and metric == "curriculum_reached":
                continue
            assert study.analysed
            assert config.rule.name != "none"
            assert side.metric.removesuffix("_untrained") in ANALYSIS


@pytest.mark.parametrize(
    ("preset", "claim"),
    [(preset, c) for preset in PROBES for c in CLAIMS[preset]() if on_untrained(preset, c)],
)
def test_what_every_claim_that_trains_no_run_compares_is_measured(preset, claim):
    for comparison in claim.comparisons:
        study = PROBES[preset]()[comparison.study]
        for side in (comparison.claimed, comparison.other):
            points = [{**study.fixed, **point} for point in study.points]
            matching = [point for point in points if side.where.items() <= point.items()]
            assert len(matching) == 1
            assert side.metric in PROBED[study.probe]
            assert side.metric != "expected" or matching[0]["rule"] == "hebb"


def test_claims_on_untrained_memories_are_measured_by_probes():
    assert all(on_untrained("memories", claim) for claim in probe_claims())


def test_a_point_has_a_command(tmp_path):
    point = Point(
        "configs/paper.py", "copying/hebbian", {"rule.name": "none"}, {"seed": 3}, tmp_path
    )
    assert point.argument == "copying/none"
    assert point.config().rule.name == "none"
    assert "--config=configs/paper.py:copying/none" in point.command()
    assert "--config.seed=3" in point.command()


def test_a_published_cell_needs_a_metric():
    """A result that lacks the metric leaves the cell out; the other cells stand."""
    row = {"study": "omniglot", "rule.name": "none", "seed": 0, "eta_mean": 0.0, "accuracy": None}
    assert [cell["metric"] for cell in published_table([row])] == ["eta_mean"]


def test_a_point_may_choose_what_its_study_sets(tmp_path):
    """The budget holds for all."""
    points = [{"train.steps": 7, "train.batch": 5}, {"train.batch": 4}]
    study = Study("copying", "", "copying", points, {"train.steps": 9, "seed": 3})
    made = points_of(tmp_path, "study", study, {"train.batch": 2})
    assert [p.settings for p in made] == [
        {"train.steps": steps, "train.batch": 2, "seed": 3} for steps in (7, 9)
    ]
