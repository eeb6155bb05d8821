"""Tasks of working memory, against a reader that replays each episode in plain Python."""

import functools

import jax
import numpy as np
import pytest

from plasticity.tasks.trials import share_found
from plasticity.tasks.working_memory import WORKING_MEMORY
from tests.sample import sampled

N, V = 3, 7
SIZES = {"items": N, "test_items": N, "interval": 2, "test_interval": 2, "symbols": V}


def make(name, **changes):
    more = {"updates": 4} if name == "updating" else {}
    return WORKING_MEMORY[name](**(SIZES | more | changes))


@functools.cache
def drawn(name, training):
    task = make(name)
    task = task.trained_on if training else task
    keys = jax.random.split(jax.random.key(3), 300)
    return task, jax.tree.map(np.asarray, jax.jit(jax.vmap(task.sample))(keys))


def read(row):
    """(place, symbol, mark, whether it is a query); None: there is none."""
    parts = np.split(row, [N, N + V, N + V + 3])
    place, symbol, mark = (int(p.argmax()) if p.any() else None for p in parts[:3])
    assert all(p.sum() in (0, 1) for p in parts)
    return place, symbol, mark, bool(parts[3][0])


def replayed(name, episode):
    """What a perfect observer answers: {index of an answer: set of labels}, and the set size."""
    at_place, seen, answers, size = {}, [], {}, 0
    for t, row in enumerate(episode.inputs):
        place, symbol, mark, query = read(row)
        assert not query
        if mark == 2:
            answers[t] = {V + symbol % 2}
        elif mark is not None:
            at_place[place] = (at_place[place] + (1 if mark == 0 else -1)) % V
        elif symbol is not None:
            seen.append(symbol)
            at_place[place] = symbol
            size += 1
    assert len(set(seen)) == len(seen)
    for q, row in enumerate(episode.queries):
        place, symbol, mark, query = read(row)
        assert query
        assert mark is None
        found = {
            "change_detection": lambda p, s: {V + (at_place.get(p) == s)},
            "recognition": lambda p, s: {V + (s in seen)},
            "free_recall": lambda p, s: set(seen),
        }.get(name, lambda p, s: {at_place.get(p)})
        answers[len(episode.inputs) + q] = found(place, symbol)
    return answers, size


@pytest.mark.parametrize("training", sampled([False, True], lambda training: training, "thorough"))
@pytest.mark.parametrize("name", WORKING_MEMORY)
def test_a_perfect_observer_gives_the_targets(name, training):
    _, episodes = drawn(name, training)
    sizes, waits = set(), set()
    for i in range(len(episodes.weights)):
        episode = jax.tree.map(lambda a, i=i: a[i], episodes)
        answers, size = replayed(name, episode)
        for t in np.flatnonzero(episode.weights):
            wanted = set(np.flatnonzero(episode.targets[t]))
            assert wanted == answers[t]
            assert episode.targets[t].sum() == pytest.approx(1)
        asked = episode.weights[len(episode.inputs) :].sum()
        wanted = {"free_recall": 1, "recognition": 2 * size}
        assert asked == wanted.get(name, size)
        sizes.add(size)
        waits.add(len(episode.inputs) - 1 - np.flatnonzero(episode.inputs.any(-1)).max())
    assert sizes == ({1, 2, 3} if training else {N})
    assert waits == ({0, 1, 2} if training else {2})


@pytest.mark.parametrize("name", WORKING_MEMORY)
def test_chance_is_what_the_best_constant_answer_scores(name):
    task, episodes = drawn(name, False)
    for label in range(V + 2):
        constant = np.eye(V + 2)[label] + 1e-3 * np.arange(V + 2)
        answers = np.broadcast_to(constant, episodes.targets.shape)
        score = jax.vmap(task.metrics)(answers, episodes)["accuracy"]
        assert score.mean() < task.chance + 4 * score.std() / len(score) ** 0.5 + 1e-6
    perfect = jax.vmap(task.metrics)(episodes.targets, episodes)
    assert all((value == 1).all() for value in perfect.values())
    positions = [f"position_{i}" for i in (1, 2, 3)] if name != "free_recall" else []
    assert [*perfect] == ["accuracy", *positions]


def test_changes_are_swaps_and_half_of_the_probes_are_true():
    """Knowing which symbols were shown, but not where, is of no use."""
    _, episodes = drawn("change_detection", False)
    yes = episodes.targets[:, -N:, V + 1]
    assert abs(yes.mean() - 0.5) < 0.06
    shown = episodes.inputs[:, :, N : N + V].max(1)
    probes = episodes.queries[:, :, N : N + V]
    assert (np.einsum("eqv,ev->eq", probes, shown) == 1).all()


def test_fewer_items_in_the_test_keep_the_shapes():
    task = make("serial_recall", test_items=2, test_interval=5)
    assert task.shape.inputs == make("serial_recall").shape.inputs
    assert (task.steps, task.trained_on.steps) == (N + 5, N + 2)
    episode = task.sample(jax.random.key(0))
    assert list(episode.weights[task.steps :]) == [0, 1, 1]
    assert [*task.metrics(episode.targets, episode)] == ["accuracy", "position_1", "position_2"]


def test_the_share_found_counts_as_many_answers_as_are_asked_for():
    targets = np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 1.0], [0, 0, 0, 0]])
    answers = np.array([[3.0, 1, 2, 0], [0, 1, 2, 3], [0, 1, 2, 3]])
    np.testing.assert_array_equal(share_found(answers, targets), [0.5, 1, 0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fewest": 4}, "task.fewest=4 must be at most task.items=3"),
        ({"test_items": 4}, "task.test_items=4 must be at most task.items=3"),
        ({"symbols": 5}, "task.symbols=5 must be at least 6, 2 \\* task.items"),
    ],
)
def test_wrong_sizes(changes, message):
    with pytest.raises(ValueError, match=message):
        make("recognition", **changes)
