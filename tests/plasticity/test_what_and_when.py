"""What and when, against a reader of its episodes in plain Python, and the levels of its skill."""

import importlib

import jax
import numpy as np
import pytest

from plasticity.tasks.what_and_when import (
    PROBABILITIES,
    RADIUS,
    WhatAndWhenSettings,
    levels,
    reservoir,
    what_and_when,
)

SIZES = {"cues": 2, "outcomes": 3, "latest": 4, "rounds": 6, "units": 5}
LENGTH, TRIALS = 5, 12
COUNT = 2000


@pytest.fixture(scope="module")
def drawn():
    task = what_and_when(**SIZES)
    episodes = jax.jit(jax.vmap(task.sample))(jax.random.split(jax.random.key(0), COUNT))
    return task, jax.tree.map(np.asarray, episodes)


def by_trial(array):
    return array.reshape(-1, TRIALS, LENGTH, *array.shape[2:])


def test_a_cue_has_one_outcome_at_one_latency(drawn):
    """The state after the first step of a trial tells the cue."""
    _, episodes = drawn
    inputs = by_trial(episodes.inputs)[:50]
    shown, possible = inputs[..., 5:], by_trial(episodes.targets["possible"])[:50]
    for states, outcomes, may in zip(inputs[:, :, 0, :5], shown, possible, strict=True):
        of_cue = {}
        assert outcomes.sum((1, 2)).max() <= 1
        for state, outcome, asked in zip(states, outcomes, may, strict=True):
            (step,) = np.flatnonzero(asked[: LENGTH - 1])
            known = of_cue.setdefault(state.tobytes(), (step, asked[step]))
            assert (step, asked[step]) == known
            for t, which in zip(*np.nonzero(outcome), strict=True):
                assert (t - 1, which + 1) == known
        assert len(of_cue) == 2
        times = [sum(s.tobytes() == cue for s in states) for cue in of_cue]
        assert times == [6, 6]


def test_targets_are_the_outcomes_of_the_next_step(drawn):
    _, episodes = drawn
    shown = by_trial(episodes.inputs)[..., 5:]
    following = by_trial(episodes.targets["next"])
    expected = np.where(shown.any(-1), 1 + shown.argmax(-1), 0)
    np.testing.assert_array_equal(following[:, :, :-1], expected[:, :, 1:])
    weights = by_trial(episodes.weights)
    assert (weights[:, 6:, :-1] == 1).all()
    assert weights.sum() == COUNT * 6 * 4


def test_the_reservoir_by_its_equation(drawn):
    _, episodes = drawn
    recurrent, driven = reservoir(WhatAndWhenSettings(**SIZES))
    assert np.abs(np.linalg.eigvals(recurrent)).max() == pytest.approx(RADIUS)
    inputs = by_trial(episodes.inputs)[0, 0]
    first = [0.5 * np.tanh(driven[:, cue]) for cue in range(2)]
    state = next(r for r in first if np.allclose(r, inputs[0, :5], atol=1e-6))
    for row in inputs[1:]:
        state = 0.5 * state + 0.5 * np.tanh(recurrent @ state + driven[:, 2:] @ row[5:])
        np.testing.assert_allclose(row[:5], state, atol=1e-6)


def test_skill_is_0_for_a_constant_and_hit_1_for_who_knows_outcome_and_latency(drawn):
    task, episodes = drawn
    some = PROBABILITIES.mean() / 4
    constant = np.log([1 - some, *[some / 3] * 3])
    found = jax.vmap(task.metrics)(np.broadcast_to(constant, (COUNT, task.steps, 4)), episodes)
    assert abs(found["skill"].mean()) < 0.03
    assert found["hit"].mean() == pytest.approx(1 / 3, abs=0.05)
    # How often an outcome occurs where it may is all that is not sure: of all p, as of one.
    ignorant, omniscient = levels(WhatAndWhenSettings(**SIZES))
    possible = episodes.targets["possible"]
    occurs = (episodes.targets["next"] > 0) & (episodes.weights > 0)
    sure = np.zeros((COUNT, task.steps, 4))
    np.put_along_axis(sure, possible[..., None], 30.0, -1)
    found = jax.vmap(task.metrics)(sure, episodes)
    assert (found["hit"] == 1).all()
    assert 0 < omniscient < ignorant
    asked = (possible > 0) & (episodes.weights > 0)
    assert occurs.sum() / asked.sum() == pytest.approx(PROBABILITIES.mean(), abs=0.02)


def test_who_knows_probabilities_too_has_a_skill_of_1(monkeypatch):
    """All are 1/2 here, so that outcome and latency are all that differs between cues."""
    module = importlib.import_module("plasticity.tasks.what_and_when")
    monkeypatch.setattr(module, "PROBABILITIES", np.array([0.5]))
    task = what_and_when(**SIZES)
    episodes = jax.jit(jax.vmap(task.sample))(jax.random.split(jax.random.key(0), COUNT))
    possible = np.asarray(episodes.targets["possible"])[..., None]
    answers = np.full((COUNT, task.steps, 4), -30.0)
    np.put_along_axis(answers, possible, 0.0, -1)  # as likely as no outcome, where there may be one
    answers[..., 0] = 0.0
    skill = np.asarray(jax.vmap(task.metrics)(answers, episodes)["skill"])
    assert abs(skill.mean() - 1) < 4 * skill.std() / COUNT**0.5 + 1e-3


@pytest.mark.thorough
def test_the_right_answer_is_worth_more_than_the_best_prediction():
    task = what_and_when(**SIZES)
    ignorant, omniscient = levels(WhatAndWhenSettings(**SIZES))
    episode = task.sample(jax.random.key(0))
    right = 50 * np.asarray(jax.nn.one_hot(episode.targets["next"], 4))
    skill = float(task.metrics(right, episode)["skill"])
    assert skill == pytest.approx(ignorant / (ignorant - omniscient), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"rounds": 1}, "task.rounds=1 must be"), ({"leak": 0.0}, "task.leak=0")],
)
def test_wrong_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        what_and_when(**SIZES | changes)
