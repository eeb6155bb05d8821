"""Needle and rewriting: layout, labels, scores of known nets, and settings that are refused."""

import functools

import jax
import numpy as np
import pytest

from plasticity.tasks.needle import THIRDS, needle
from plasticity.tasks.rewriting import rewriting
from tests.tokens import draw, scores

COUNT = 2000
MAKES = [needle, rewriting]
OPTIONS = {
    needle: {"vocabulary": 30, "steps": 34, "test_steps": 64, "needles": 4, "distractors": 1},
    rewriting: {"vocabulary": 20, "keys": 5, "writes": 3},
}
ASKED = {needle: 4, rewriting: 5}
FIRST_VALUE = {needle: 20, rewriting: 10}


@functools.cache
def case(make):
    task = make(**OPTIONS[make])
    return task, draw(task, COUNT)


def replay(tokens, first_value):
    """What a dictionary answers at each step, reading token after token; None: it does not know."""
    known, key = {}, None
    for token in tokens:
        yield known.get(token)
        if token >= first_value:
            known[key] = token
        key = token


@pytest.mark.parametrize("make", MAKES)
def test_a_dictionary_answers_every_query(make):
    task, episodes = case(make)
    asked = np.arange(task.steps) >= task.steps - ASKED[make]
    assert task.phases[-1] == ("queries", ASKED[make])
    np.testing.assert_array_equal(episodes.weights, np.tile(asked, (COUNT, 1)))
    for tokens, targets in zip(episodes.inputs, episodes.targets, strict=True):
        said = list(replay(tokens.tolist(), FIRST_VALUE[make]))
        assert said[-ASKED[make] :] == targets[asked].tolist()


@pytest.mark.parametrize("make", MAKES)
def test_no_answer_is_told_by_position(make):
    """At each query all values are equally frequent, so every constant answer scores `chance`."""
    task, episodes = case(make)
    first = FIRST_VALUE[make]
    assert task.chance == 1 / (task.outputs - first)
    error = 5 * (task.chance / COUNT) ** 0.5
    for at_step in episodes.targets[:, -ASKED[make] :].T:
        counts = np.bincount(at_step, minlength=task.outputs) / COUNT
        assert (counts[:first] == 0).all()
        assert abs(counts[first:] - task.chance).max() < error
    constant = scores(task, np.full_like(episodes.targets, first), episodes)
    assert constant[task.main_metric].mean() == pytest.approx(task.chance, abs=error)


def test_needles_lie_among_filler_and_pairs_that_nobody_asks_for():
    task, episodes = case(needle)
    assert (task.steps, task.training.steps) == (64, 34)
    for tokens in episodes.inputs:
        hay, asked = tokens[:-4], tokens[-4:]
        (keys,) = np.nonzero((hay >= 10) & (hay < 20))
        np.testing.assert_array_equal(np.flatnonzero(hay >= 20), keys + 1)
        assert (keys % 2 == 0).all()
        assert len(set(hay[keys])) == len(set(hay[keys + 1])) == 5
        assert set(asked) < set(hay[keys])
    filler = episodes.inputs[episodes.inputs < 10]
    np.testing.assert_allclose(np.bincount(filler) / len(filler), 0.1, atol=0.01)


def slots(episodes, queries):
    """The index of the pair of positions with each needle."""
    hay, asked = episodes.inputs[:, :-queries], episodes.inputs[:, -queries:]
    return (hay[:, None] == asked[:, :, None]).argmax(-1) // 2


def test_needles_stand_at_every_depth_and_in_every_third():
    """Whichever query asks; there are 30 slots."""
    found = slots(case(needle)[1], 4)
    for of_query in found.T:
        counts = np.bincount(of_query, minlength=30) / COUNT
        np.testing.assert_allclose(counts, 1 / 30, atol=5 * (30 * COUNT) ** -0.5)
    assert (found[..., None] // 10 == np.arange(3)).any(1).all()


def test_accuracy_by_depth():
    """Of a net that knows the needles of one third."""
    task, episodes = case(needle)
    for third, name in enumerate(THIRDS):
        known = slots(episodes, 4) // 10 == third
        said = episodes.targets.copy()
        said[:, -4:] *= known
        found = scores(task, said, episodes)
        assert found.keys() == {"accuracy", *(f"accuracy_{other}" for other in THIRDS)}
        np.testing.assert_allclose(found["accuracy"], known.mean(1), rtol=1e-6)
        for other in THIRDS:
            np.testing.assert_array_equal(found[f"accuracy_{other}"], other == name)


def test_one_needle_may_be_put_into_a_third():
    """Of 31 slots; training keeps all depths."""
    task = needle(**OPTIONS[needle] | {"needles": 1, "steps": 63, "depth": "middle"})
    placed = np.unique(slots(draw(task, COUNT), 1))
    np.testing.assert_array_equal(placed, np.flatnonzero(np.arange(31) * 3 // 31 == 1))
    assert len(np.unique(slots(draw(task.training, COUNT), 1))) == 31
    episode = jax.eval_shape(task.sample, jax.random.key(0), None)
    answers = jax.ShapeDtypeStruct((task.steps, task.outputs), np.float32)
    assert jax.eval_shape(task.metrics, answers, episode).keys() == {"accuracy"}


def test_every_key_is_written_equally_often_and_asked_once():
    episodes = case(rewriting)[1].inputs
    pairs, asked = episodes[:, :30].reshape(COUNT, 15, 2), episodes[:, 30:]
    assert 0 == asked.min() < asked.max() == 9 < pairs[..., 1].min()
    for one, queries in zip(pairs.tolist(), asked.tolist(), strict=True):
        assert sorted(queries * 3) == sorted(key for key, _ in one)
        assert len(set(map(tuple, one))) == 15, "a key has a value twice"
    same = (pairs[:, 1:, 0] == pairs[:, :-1, 0]).mean()
    assert same == pytest.approx(2 / 14, abs=0.01)  # 2 of the other 14 writes are of the same key
    np.testing.assert_allclose((pairs[:, :1, 0] == asked).mean(0), 1 / 5, atol=0.05)


def answers_of_nets(tokens):
    """{net: its answers to the queries}: the last value, the first, only of the latest keys."""
    values, latest = {}, []
    for key, value in zip(tokens[:30:2], tokens[1:30:2], strict=True):
        values.setdefault(key, []).append(value)
        latest = [key, *(other for other in latest if other != key)]
    return {
        "last": [values[key][-1] for key in tokens[30:]],
        "first": [values[key][0] for key in tokens[30:]],
        "recent": [values[key][-1] if key in latest[:2] else 0 for key in tokens[30:]],
    }


def test_metrics_of_known_nets_on_rewritten_keys():
    task, episodes = case(rewriting)
    expected = {
        "last": {"query_accuracy": 1, "stale": 0, "accuracy_recent": 1, "accuracy_old": 1},
        "first": {"query_accuracy": 0, "stale": 1, "accuracy_recent": 0, "accuracy_old": 0},
        "recent": {"query_accuracy": 0.4, "stale": 0, "accuracy_recent": 1, "accuracy_old": 0},
    }
    answers = [answers_of_nets(tokens) for tokens in episodes.inputs.tolist()]
    for name, metrics in expected.items():
        said = np.zeros_like(episodes.targets)
        said[:, 30:] = [nets[name] for nets in answers]
        found = scores(task, said, episodes)
        assert found.keys() == metrics.keys()
        for metric, value in metrics.items():
            np.testing.assert_allclose(found[metric], value, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (needle, {"steps": 50}, "task.steps=50 must be at least 51: a step for each of 3 queries"),
        (needle, {"test_steps": 5}, "task.test_steps=5 must be at least 51"),
        (needle, {"vocabulary": 23}, "task.vocabulary=23 must be at least 24"),
        (needle, {"needles": 0}, "task.needles=0 must be at least 1"),
        (needle, {"depth": "earlier"}, "task.depth='earlier'.*did you mean 'early'"),
        (rewriting, {"keys": 33}, "task.vocabulary=64 must be at least 66: task.keys=33 distinct"),
        (rewriting, {"writes": 40}, "task.vocabulary=64 must be at least 80"),
        (rewriting, {"keys": 1}, "task.keys=1 must be at least 2"),
    ],
)
def test_wrong_settings_are_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
