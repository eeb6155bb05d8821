"""Tasks that ask for a state at every step: next symbols of languages, word problems of groups."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.tasks.next_symbols import aa_star, abab_star, anbn, anbncn, shuffle2
from plasticity.tasks.permutations import permutations, products

LENGTHS = {"shortest": 4, "longest": 9, "test_shortest": 8, "test_longest": 17}
# {task: (symbols, strings of the language up to some length)}
STRINGS = {
    aa_star: ("a", ["a" * n for n in range(0, 40, 2)]),
    abab_star: ("ab", ["abab" * n for n in range(20)]),
    anbn: ("ab", ["a" * n + "b" * n for n in range(20)]),
    anbncn: ("abc", ["a" * n + "b" * n + "c" * n for n in range(20)]),
    shuffle2: ("()[]", None),
}
NAMES = ["aa_star", "abab_star", "anbn", "anbncn", "shuffle2"]
UNITS = {aa_star: 2, abab_star: 4, anbn: 2, anbncn: 3, shuffle2: 2}
STARTS = {aa_star: 2, abab_star: 4}
by_language = pytest.mark.parametrize("make", STRINGS, ids=NAMES)


@functools.cache  # compiling takes most of the time of these tests
def language(make):
    """The task of a language, and its episodes."""
    task = make(**LENGTHS)
    return task, draw(task, 20_000)


def draw(task, count):
    keys = jax.random.split(jax.random.key(0), count)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(task.sample))(keys))


def first(episodes, count):
    return jax.tree.map(lambda x: x[:count], episodes)


def score(task, answers, episodes):
    """Mean metrics of the answers [T, O], the same in all episodes, or of one's own for each."""
    axis = 0 if answers.ndim == 3 else None
    metrics = jax.jit(jax.vmap(task.metrics, (axis, 0)))(jnp.asarray(answers), episodes)
    return {name: float(values.mean()) for name, values in metrics.items()}


def may_follow(make, read):
    """The symbols that may follow, and "end"."""
    _, strings = STRINGS[make]
    if strings:
        return {(s + "$")[len(read)].replace("$", "end") for s in strings if s.startswith(read)}
    of_type = {pair: read.count(pair[0]) - read.count(pair[1]) for pair in ("()", "[]")}
    assert min(of_type.values()) >= 0
    closing = {pair[1] for pair, count in of_type.items() if count}
    return {"(", "["} | closing | ({"end"} if not closing else set())


def check_uniform(values, among):
    counts = np.array([values.count(value) for value in among])
    assert counts.sum() == len(values), "another value"
    share = 1 / len(among)
    assert (abs(counts / len(values) - share) < 4 * (share / len(values)) ** 0.5).all()


@by_language
def test_sets_are_those_of_symbols_that_go_on_to_a_string(make):
    task, episodes = language(make)
    symbols, _ = STRINGS[make]
    unit, starts = UNITS[make], STARTS.get(make, 1)
    assert (task.inputs, task.outputs) == (1 + len(symbols), len(symbols) + 1)
    parts = [(task, 8, 17, first(episodes, 400))]
    if make is anbn:  # what training and test are made of is shared
        parts.append((task.training, 4, 9, draw(task.training, 400)))
    assert task.training.steps == 9 + starts - 1
    for part, shortest, longest, drawn in parts:
        assert part.steps == longest + starts - 1
        lengths, firsts = [], []
        for tokens, sets, weights in zip(*drawn[:3], strict=True):
            (at,) = np.nonzero(weights)
            np.testing.assert_array_equal(at, np.arange(at[0], at[-1] + 1))
            np.testing.assert_array_equal(weights, tokens > 0)
            text = "".join(symbols[token - 1] for token in tokens[at])
            for count, step in enumerate(at, 1):
                found = {(*symbols, "end")[k] for k in np.flatnonzero(sets[step])}
                assert found == may_follow(make, text[:count])
            assert "end" in may_follow(make, text)
            lengths.append(len(text))
            firsts.append(int(at[0]))
        check_uniform(lengths, range(shortest // unit * unit, longest + 1, unit))
        check_uniform(firsts, range(starts))


@by_language
def test_chance_levels_of_sets(make):
    """One sequence of answers for all episodes: a string's own, or the most frequent set."""
    task, episodes = language(make)
    count = len(episodes.weights)
    answers = episodes.targets[0]
    if make is shuffle2:
        numbers = (episodes.targets @ 2 ** np.arange(5)).astype(int)
        # Strings that have ended do not count, and long ones have many steps to be right at.
        weights = episodes.weights / episodes.weights.sum(1, keepdims=True)
        shares = [np.bincount(n, w, 32) for n, w in zip(numbers.T, weights.T, strict=True)]
        answers = np.argmax(shares, 1)[:, None] >> np.arange(5) & 1
    found = score(task, 2.0 * answers - 1, episodes)[task.main_metric]
    assert found == pytest.approx(task.chance, abs=4 * (task.chance / count) ** 0.5)
    assert score(task, 2.0 * episodes.targets - 1, episodes) == {
        "string_accuracy": 1,
        "step_accuracy": 1,
    }


def test_chance_levels_of_sets_at_the_default_lengths():
    found = {name: make().chance for name, make in zip(NAMES, STRINGS, strict=True)}
    shuffled = found.pop("shuffle2")
    assert found == {"aa_star": 1 / 2, "abab_star": 1 / 4, "anbn": 1 / 25, "anbncn": 1 / 17}
    assert shuffled == pytest.approx(0.394, abs=1e-3)


def test_one_error_makes_a_string_wrong():
    task, episodes = language(anbn)
    episodes = first(episodes, 100)
    answers = 2 * episodes.targets - 1
    last = episodes.weights.sum(1).astype(int) - 1
    answers[np.arange(100), last, -1] *= -1
    found = score(task, answers, episodes)
    assert found["string_accuracy"] == 0
    assert found["step_accuracy"] == pytest.approx((last / (last + 1)).mean(), rel=1e-5)
    losses = jax.vmap(task.loss)(jnp.asarray(1e2 * (2 * episodes.targets - 1)), episodes)
    assert float((losses * episodes.weights).sum()) < 1e-6


@pytest.mark.parametrize(("objects", "moved"), [(3, 5), (4, 2)])
def test_products_of_permutations_are_where_objects_end(objects, moved):
    task = permutations(objects=objects, moved=moved, **LENGTHS)
    group = list(itertools.permutations(range(objects)))
    moves = [g for g in group if sum(a != b for a, b in enumerate(g)) <= moved]
    assert (task.inputs, task.outputs) == (1 + len(moves), len(group))
    episodes = draw(task, 400)
    assert (task.steps, task.training.steps) == (17, 9)
    lengths = episodes.weights.sum(1).astype(int)
    for tokens, answers, n in zip(episodes.inputs, episodes.targets, lengths, strict=True):
        assert (tokens[:n] > 0).all()
        assert (tokens[n:] == 0).all()
        place = list(range(objects))  # of each object
        for token, answer in zip(tokens[:n], answers[:n], strict=True):
            place = [moves[token - 1][p] for p in place]
            assert group[answer] == tuple(place)
    check_uniform(lengths.tolist(), range(8, 18))
    shown = episodes.inputs[episodes.weights > 0]
    check_uniform((shown - 1).tolist(), range(len(moves)))


def test_tables_of_products_are_those_of_groups():
    """Of permutations that move few objects, only the columns are there."""
    table = products(4, 5)
    for line in (*table, *table.T):
        assert sorted(line) == list(range(24))
    np.testing.assert_array_equal(table[0], range(24))
    shapes = {s: products(*s).shape for s in ((5, 5), (5, 3), (5, 2), (3, 2))}
    assert shapes == {(5, 5): (120, 120), (5, 3): (120, 31), (5, 2): (120, 11), (3, 2): (6, 4)}
    assert (products(5, 5) != products(5, 5).T).any(), "does not commute"


def test_chance_level_of_permutations():
    """By enumeration; and as scored by the one product that is most frequent at each step."""
    lengths = {"test_shortest": 3, "test_longest": 4}
    task = permutations(objects=3, moved=2, **lengths)
    table = products(3, 2)
    largest = []
    for n in (3, 4):
        ends = []
        for moves in itertools.product(range(4), repeat=n):
            product = 0
            for move in moves:
                product = table[product, move]
            ends.append(product)
        largest.append(np.bincount(ends).max() / 4**n)
    assert task.chance == pytest.approx(np.mean(largest))
    for objects, elements in ((3, 6), (4, 24), (5, 120)):
        assert permutations(objects=objects).chance == pytest.approx(1 / elements)
    whole = permutations(objects=3, **lengths)
    episodes = draw(whole, 4000)
    found = score(whole, np.eye(6)[[2, 3, 4, 5]], episodes)
    assert found["accuracy"] == pytest.approx(1 / 6, abs=4 * (1 / 6 / 4000) ** 0.5)
    assert score(whole, np.eye(6)[episodes.targets], episodes)["accuracy"] == 1


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (aa_star, {"shortest": 3}, "task.shortest=3 must be at least 4"),
        (anbn, {"test_longest": 51}, "task.test_shortest=52 must be at most task.test_longest=51"),
        (permutations, {"objects": 6}, "task.objects=6 must be at least 2 and at most 5"),
        (permutations, {"moved": 1}, "task.moved=1 must be at least 2 and at most 5"),
        (permutations, {"longest": 2}, "task.longest=2 must be at least 3"),
    ],
)
def test_wrong_settings_of_state_tracking_are_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
