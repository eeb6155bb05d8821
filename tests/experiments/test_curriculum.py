"""What changes while a network trains: the task, eta0; and what it starts from."""

import itertools
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.configs import copying
from plasticity.configs.training import CurriculumSettings, Stage
from plasticity.experiments import build
from plasticity.experiments.run.explosions import FACTOR, Explosions
from plasticity.experiments.run.hosts import SharedInterrupts
from plasticity.experiments.run.interrupts import Interrupts
from plasticity.experiments.run.train import train
from plasticity.experiments.validate import ConfigError, validate
from tests.launching import assert_same_state, read, rows, tiny_config

GROWS = {"curriculum__field": "delay", "curriculum__stages": "1,2"}
SEED = jnp.zeros((), jnp.int32)


def test_stages_share_their_part_of_the_steps():
    curriculum = CurriculumSettings(field="delay", stages="10,20,50", share=0.6)
    first = [curriculum.stage(step, 1000) for step in (0, 199, 200, 400, 599, 600, 999)]
    assert [stage.value for stage in first] == [10, 10, 20, 50, 50, None, None]
    assert [stage.end for stage in first] == [200, 200, 400, 600, 600, 1000, 1000]
    assert CurriculumSettings().stage(0, 7) == Stage(None, 7)


def test_a_stage_is_the_same_network_on_a_shorter_task():
    config = tiny_config(task__delay=4, **GROWS)
    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    stage = build.make_stage(config, learner, 2)
    assert stage.task.steps == learner.task.steps - 2
    shapes = jax.eval_shape(learner.init, SEED, hyper)
    assert shapes == jax.eval_shape(stage.init, SEED, hyper)
    assert build.make_stage(config, learner, None) is learner


def test_a_curriculum_resumes_bit_for_bit_within_a_stage(tmp_path, monkeypatch):
    fields = GROWS | {"task__delay": 4, "train__steps": 12, "checkpoint__every": 2}
    fields |= {"log__every": 1, "evaluate__every": 0, "train__eta0_warmup": 8}
    config = tiny_config(**fields)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(config, str(whole)) == 0
    polls = itertools.count()

    def asked(interrupts):
        if next(polls) == 4:  # within the second stage
            interrupts.signal = signal.SIGTERM
        return interrupts.signal is not None

    with monkeypatch.context() as changed:
        changed.setattr(Interrupts, "asked", asked)
        changed.setattr(SharedInterrupts, "asked", asked)
        assert train(config, str(parts)) == 128 + signal.SIGTERM
    assert not (parts / "result.json").exists()
    assert train(config, str(parts)) == 0
    assert_same_state(whole, parts)
    assert [row["loss"] for row in rows(whole)] == [row["loss"] for row in rows(parts)]
    result = read(whole / "result.json")
    assert result["metrics"] == read(parts / "result.json")["metrics"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"curriculum__field": "dela"}, "both"),
        ({"curriculum__field": "dela", "curriculum__stages": "1"}, "did you mean 'delay'"),
        ({"curriculum__field": "delay", "curriculum__stages": "1,x"}, "must be integers"),
        ({"curriculum__field": "delay", "curriculum__stages": "9"}, "at most 6"),
        ({"curriculum__field": "vocabulary", "curriculum__stages": "5"}, "has 5 inputs"),
        ({"curriculum__field": "delay", "curriculum__stages": "-1"}, "task.delay=-1 must be"),
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
    etas = [learner._warmed_up(hyper, jnp.int32(step)).rule.get("eta0") for step in (0, 1, 3, 9)]
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
    assert explosions.after([0.9 * FACTOR, 1.0]) == {0: 2}
    assert explosions.after([0.1, 0.1]) == {}  # the network has recovered


def test_a_harder_stage_is_no_explosion():
    easy = [{"split": "train", "step": step, "seed": 7, "loss": 1e-4} for step in (1, 2)]
    explosions = Explosions([7], easy, stage=lambda done: (done + 1) // 3)
    assert explosions.see(3, [1.0]) == []
    assert explosions.see(4, [2.0]) == []
    assert len(explosions.see(5, [2 * FACTOR])) == 1
    assert explosions.see(6, [3 * FACTOR]) == []  # the next stage, and it was told
    assert explosions.after([3 * FACTOR]) == {0: 4}


def test_an_explosion_stands_in_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr("plasticity.experiments.run.explosions.FACTOR", 0.5)
    config = tiny_config(train__steps=2, log__every=1, evaluate__every=0)
    assert train(config, str(tmp_path / "run")) == 0
    assert read(tmp_path / "run" / "result.json")["exploded_after"] == 0
