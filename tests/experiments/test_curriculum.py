"""What changes while a network trains: the task, eta0; and what it starts from."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.configs import copying
from plasticity.configs.training import CurriculumSettings
from plasticity.experiments import build
from plasticity.experiments.run.curriculum import Curriculum
from plasticity.experiments.run.explosions import FACTOR, Explosions
from plasticity.experiments.run.storage import DamagedFileError, WorkdirError
from plasticity.experiments.run.train import train
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError, validate
from tests.launching import assert_same_state, read, rows, tiny_config, train_until

GROWS = {"curriculum__field": "delay", "curriculum__stages": "1,2"}
SEED = jnp.zeros((), jnp.int32)


def curriculum(steps=1000, own=100, **fields):
    settings = CurriculumSettings(field="delay", **{"stages": "10,20,50"} | fields)
    return Curriculum(settings, steps, own, "accuracy")


def test_stages_share_their_part_of_the_steps():
    shared = curriculum(share=0.6)
    values = [shared.value(step) for step in (0, 199, 200, 400, 599, 600, 999)]
    assert values == [10, 10, 20, 50, 50, 100, 100]
    assert Curriculum(CurriculumSettings(), 7, None, "accuracy").value(3) is None
    assert CurriculumSettings(field="delay", stages="2..4").parsed == (2, 3, 4)


def scores(*accuracies):
    return [{"accuracy": value, "other": 1.0} for value in accuracies]


def test_a_seed_that_has_diverged_keeps_no_stage_from_the_others():
    """The mean of 20 times .995 is below .995 after rounding."""
    earned = curriculum(own=20, stages="10,20", until=0.995, window=20)
    assert [earned.see(step, scores(1.0, math.nan)) for step in range(20)] == [False] * 19 + [True]


def test_stages_are_earned_by_every_seed():
    earned = curriculum(own=20, stages="10,20", until=0.9, window=2)
    assert earned.values == [10, 20]
    assert not earned.see(0, scores(1.0, 1.0))  # one update is no window
    assert not earned.see(1, scores(1.0, 0.7))
    assert not earned.see(2, scores(1.0, 1.0))  # .85 for the second seed
    assert earned.reached() == {"curriculum_reached": 0}
    assert earned.see(3, scores(1.0, math.nan))  # it has diverged
    assert earned.reached() == {"curriculum_reached": 10}
    assert [earned.value(update) for update in (3, 4, 5)] == [10, 10, 20]
    assert not earned.see(4, scores(1.0, 1.0))  # of the stage before
    assert not earned.see(5, scores(1.0, 1.0))
    assert earned.see(6, scores(0.8, 1.0))
    assert earned.reached() == {"curriculum_reached": 20}
    assert not any(earned.see(update, scores(1.0, 1.0)) for update in range(7, 12))
    assert earned.outcome()["curriculum"] == [
        {"value": 10, "first_update": 0, "passed_after": 4},
        {"value": 20, "first_update": 5, "passed_after": 7},
    ]


def test_what_is_saved_does_not_change_later():
    """Checkpoints are written while the run goes on."""
    earned = curriculum(until=0.9, window=3)
    earned.see(0, scores(0.5))
    record = earned.record()
    earned.see(1, scores(0.6))
    assert record["curriculum"]["recent"] == [[0.5]]


def test_only_stages_that_are_earned_may_be_extended(tmp_path):
    """Shared stages are parts of train.steps: in a longer run they would have begun later."""
    shared, earned = (
        {"train__steps": 4, "curriculum__until": until} | GROWS | {"checkpoint__every": 2}
        for until in (0.0, 0.9)
    )
    for name, fields in (("shared", shared), ("earned", earned)):
        workdir = Workdir(str(tmp_path / name))
        workdir.path.mkdir()
        workdir.open(tiny_config(**fields))
        (workdir.checkpoints / "2").mkdir(parents=True)
        longer = tiny_config(**fields | {"train__steps": 8})
        if name == "shared":
            with pytest.raises(WorkdirError, match=r"cannot extend .*curriculum\.share=0\.5"):
                workdir.check(longer)
        else:
            workdir.check(longer)


def test_every_metric_must_reach_it():
    earned = curriculum(until=0.9, window=1, metrics="accuracy, other")
    assert not earned.see(0, [{"accuracy": 1.0, "other": 0.8}])
    assert earned.see(1, [{"accuracy": 1.0, "other": 0.9}])


def test_a_stage_is_the_same_network_on_a_shorter_task():
    config = tiny_config(task__delay=4, **GROWS)
    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    stage = build.make_stage(config, learner, 2)
    assert stage.task.steps == learner.task.steps - 2
    shapes = jax.eval_shape(learner.init, SEED, hyper)
    assert shapes == jax.eval_shape(stage.init, SEED, hyper)
    assert build.make_stage(config, learner, None) is learner


# A net answers with blanks first, so the first stage is not earned at once.
EARNED = {"curriculum__until": 0.01, "curriculum__window": 3, "train__batch": 32}


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [pytest.param({}, id="shared", marks=pytest.mark.slow), pytest.param(EARNED, id="earned")],
)
def test_a_curriculum_resumes_bit_for_bit_within_a_stage(tmp_path, monkeypatch, how):
    fields = GROWS | {"task__delay": 4, "train__steps": 12, "checkpoint__every": 2} | how
    fields |= {"log__every": 1, "evaluate__every": 0, "train__eta0_warmup": 8}
    config = tiny_config(**fields)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(config, str(whole)) == 0
    # Within a stage, and within a window.
    train_until(config, parts, 5, monkeypatch)
    assert not (parts / "result.json").exists()
    assert train(config, str(parts)) == 0
    assert_same_state(whole, parts)
    for name in ("loss", "curriculum"):
        assert [row[name] for row in rows(whole)] == [row[name] for row in rows(parts)]
    result, again = (read(folder / "result.json") for folder in (whole, parts))
    assert result["metrics"] == again["metrics"]
    assert result.get("curriculum") == again.get("curriculum")
    values = [row["curriculum"] for row in rows(whole)]
    if how:
        assert values == sorted(values)
        assert {*values} == {stage["value"] for stage in result["curriculum"]} >= {1, 2}
        passed = [stage["value"] for stage in result["curriculum"] if stage["passed_after"]]
        assert passed[-1] == result["curriculum_reached"]
    else:
        assert values == [1] * 3 + [2] * 3 + [4] * 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"curriculum__field": "dela"}, "both"),
        ({"curriculum__field": "dela", "curriculum__stages": "1"}, "did you mean 'delay'"),
        ({"curriculum__field": "delay", "curriculum__stages": "1,x"}, "must be integers"),
        ({"curriculum__field": "delay", "curriculum__stages": "9"}, "at most 6"),
        ({"curriculum__field": "vocabulary", "curriculum__stages": "5"}, "has 5 inputs"),
        ({"curriculum__field": "delay", "curriculum__stages": "-1"}, "task.delay=-1 must be"),
        ({"curriculum__field": "delay", "curriculum__stages": "3..2"}, "are 0 stages"),
        ({"curriculum__field": "delay", "curriculum__stages": "1..x"}, "or a range"),
        ({"curriculum__until": 0.9}, "curriculum.until=0.9 needs a curriculum.field"),
        (GROWS | {"curriculum__metrics": "loss"}, "needs a curriculum.until"),
        (
            GROWS | EARNED | {"curriculum__metrics": "recall"},
            "'recall' is no metric under task.delay=1: did you mean 'recall_accuracy'",
        ),
    ],
)
def test_a_curriculum_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        validate(tiny_config(**fields))


@pytest.mark.parametrize("rule", ["hebbian", "none"])
def test_eta0_rises_to_its_value(rule):
    config = copying.get_config(rule)
    config.train.eta0_warmup = 4
    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    etas = [learner.warmed_up(hyper, jnp.int32(step)).rule.get("eta0") for step in (0, 1, 3, 9)]
    if rule == "none":
        assert etas == [None] * 4
    else:
        np.testing.assert_allclose(etas, np.float32([0.05, 0.1, 0.2, 0.2]))


def test_an_explosion_is_told_once_and_recorded_if_it_lasts():
    explosions = Explosions([7, 8], [{"split": "train", "step": 1, "seed": 7, "loss": 0.5}])
    assert explosions.see(2, [0.4, 2.0]) == []
    (message,) = explosions.see(3, [0.6 * FACTOR, 3.0])
    assert "step 3, seed 7" in message
    assert explosions.see(4, [0.7 * FACTOR, 2.1 * FACTOR])[0].startswith("warning: step 4, seed 8")
    assert explosions.see(5, [0.8 * FACTOR, 1.0]) == []
    assert explosions.see(6, [0.4, math.inf]) == []  # diverged
    assert explosions.see(7, [0.8 * FACTOR, 1.0]) == []
    assert explosions.after([0.9 * FACTOR, 1.0]) == {0: 6}
    assert explosions.after([0.1, 0.1]) == {}  # the network has recovered
    assert explosions.after(None) == {0: 6}  # tasks of a stream: what is forgotten does not count


def test_a_harder_stage_is_no_explosion():
    easy = [{"split": "train", "step": step, "seed": 7, "loss": 1e-4} for step in (1, 2)]
    explosions = Explosions([7], easy, stage=lambda done: (done + 1) // 3)
    assert explosions.see(3, [1.0]) == []
    assert explosions.see(4, [2.0]) == []
    assert len(explosions.see(5, [2 * FACTOR])) == 1
    assert explosions.see(6, [3 * FACTOR]) == []  # the next stage, and it was told
    assert explosions.after([3 * FACTOR]) == {0: 4}


@pytest.mark.thorough
def test_an_explosion_stands_in_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr("plasticity.experiments.run.explosions.FACTOR", 0.5)
    config = tiny_config(train__steps=2, log__every=1, evaluate__every=0)
    assert train(config, str(tmp_path / "run")) == 0
    assert read(tmp_path / "run" / "result.json")["exploded_after"] == 0


@pytest.mark.parametrize(
    "record", [3, {}, {"first": [], "passed": [], "recent": []}, {"first": [0.5], "passed": []}]
)
def test_a_damaged_record_is_refused(record):
    with pytest.raises(DamagedFileError, match="the curriculum of a checkpoint"):
        curriculum(until=0.5).resume({"curriculum": record})
