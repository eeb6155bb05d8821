"""The tasks of MAD: layout, labels, scores of known answers, and settings that are refused."""

import functools

import numpy as np
import pytest

from plasticity.tasks.mad import mad_compression, mad_copying, mad_memorisation, mapped
from plasticity.tasks.mad_recall import mad_fuzzy_recall, mad_noisy_recall, mad_recall
from tests.tokens import draw, scores

COUNT = 2000
RECALL = [mad_recall, mad_noisy_recall, mad_fuzzy_recall]
OPTIONS = {
    mad_recall: {"vocabulary": 9, "length": 24},
    mad_noisy_recall: {"vocabulary": 12, "length": 24, "noise_vocabulary": 3, "noise": 0.4},
    mad_fuzzy_recall: {"vocabulary": 9, "length": 30, "key_tokens": 3, "value_tokens": 2},
    mad_copying: {"vocabulary": 6, "length": 30, "symbols": 4},
    mad_compression: {"vocabulary": 5, "length": 6},
    mad_memorisation: {"vocabulary": 14, "length": 10},
}
# Tokens of keys and of values in the recall tasks; behind them: noise, or padding.
KEYS = {mad_recall: range(4), mad_noisy_recall: range(4), mad_fuzzy_recall: range(4)}
VALUES = {mad_recall: range(4, 9), mad_noisy_recall: range(4, 9), mad_fuzzy_recall: range(4, 8)}
CHANCE = [1 / 5, 1 / 5, 1 / 4, 1 / 4, 1 / 4, 1 / 6]  # of OPTIONS


@functools.cache
def case(make, training=False):
    task = make(**OPTIONS[make])
    task = task.trained_on if training else task
    return task, draw(task, COUNT)


def parse(tokens, keys, values):
    """[[key tokens], [value tokens], the step of the first of these], of each pair."""
    pairs = []
    for step, token in enumerate(tokens):
        if token in keys and (not pairs or pairs[-1][1]):
            pairs.append([[token], [], None])
        elif token in keys:
            pairs[-1][0].append(token)
        elif token in values:
            pairs[-1][1].append(token)
            pairs[-1][2] = step if pairs[-1][2] is None else pairs[-1][2]
    return pairs


@pytest.mark.parametrize("make", RECALL)
def test_a_dictionary_knows_the_value_of_each_key_that_returns(make):
    """And only of these: the steps that count are those at which it does."""
    task, episodes = case(make)
    assert task.steps == OPTIONS[make]["length"] - 1
    for tokens, targets, weights in zip(*episodes[:3], strict=True):
        np.testing.assert_array_equal(targets[:-1], tokens[1:])
        sequence = [*tokens.tolist(), int(targets[-1])]
        known, counts = {}, np.zeros(task.steps)
        for key, value, step in parse(sequence, KEYS[make], VALUES[make]):
            if tuple(key) in known:
                assert known[tuple(key)] == value
                counts[step - 1 : step - 1 + len(value)] = 1
            known[tuple(key)] = value
        np.testing.assert_array_equal(weights, counts)
        assert weights[-1] == 1


@pytest.mark.parametrize(("make", "chance"), [*zip(OPTIONS, CHANCE, strict=True)])
def test_every_constant_answer_scores_chance(make, chance):
    """So no position tells an answer. The optimum is 1."""
    task, episodes = case(make)
    assert task.chance == pytest.approx(chance)
    if make is mad_compression:
        shown = episodes.targets[:, -1]
        shares = [(shown == token).mean() for token in range(4)]
        by_position = np.stack([(shown == token).mean(0) for token in range(4)])
    else:
        assert (scores(task, episodes.targets, episodes)["accuracy"] == 1).all()
        tokens = np.unique(episodes.targets[episodes.weights > 0])
        assert len(tokens) == round(1 / chance)
        said = np.ones_like(episodes.targets)
        shares = [scores(task, said * token, episodes)["accuracy"].mean() for token in tokens]
        total = episodes.weights.sum(0)
        is_token = (episodes.targets == tokens[:, None, None]) * episodes.weights
        by_position = (is_token.sum(1) / np.maximum(total, 1))[:, total > COUNT / 8]
    np.testing.assert_allclose(shares, chance, atol=5 * (chance / COUNT) ** 0.5)
    np.testing.assert_allclose(by_position, chance, atol=5 * (8 * chance / COUNT) ** 0.5)


def test_recall_has_uniform_keys():
    task, episodes = case(mad_recall)
    keys = episodes.inputs[:, :-1:2]
    np.testing.assert_allclose(np.bincount(keys.ravel()) / keys.size, 1 / 4, atol=0.02)
    assert case(mad_noisy_recall)[0].phases == task.phases == (("pairs", 23),)


def test_a_share_of_the_pairs_is_noise():
    """Of eleven pairs; one of them, and the last one, is never noise."""
    episodes = case(mad_noisy_recall)[1]
    pairs = episodes.inputs[:, :22].reshape(COUNT, 11, 2)
    is_noise = pairs[..., 0] >= 9
    np.testing.assert_array_equal(is_noise, pairs[..., 1] >= 9)
    assert is_noise.mean() == pytest.approx(0.4 * 10 / 11, abs=0.02)
    assert not is_noise.all(1).any()
    noise = pairs[is_noise]
    np.testing.assert_allclose(np.bincount(noise.ravel())[9:] / noise.size, 1 / 3, atol=0.02)
    plain = draw(mad_noisy_recall(**OPTIONS[mad_noisy_recall] | {"noise": 0.0}), 50)
    assert plain.inputs.max() < 9


@pytest.mark.parametrize(("training", "sizes"), [(True, [1, 2, 3]), (False, [3])])
def test_keys_of_several_tokens(training, sizes):
    """In the test all keys are as long as can be. There is no room for one more pair."""
    _, episodes = case(mad_fuzzy_recall, training)
    found = []
    for tokens, last in zip(episodes.inputs, episodes.targets[:, -1], strict=True):
        sequence = [*tokens.tolist(), int(last)]
        padding = sequence.count(8)
        assert sequence[:padding] == [8] * padding
        assert padding < 2 * 5
        pairs = parse(sequence, KEYS[mad_fuzzy_recall], VALUES[mad_fuzzy_recall])
        for key, value, _ in pairs:
            assert len(set(key)) == len(key)
            assert len(set(value)) == len(value) <= 2
        assert pairs[-1][:2] in [pair[:2] for pair in pairs[:-1]]
        found.append((len(pairs[0][0]), len(pairs[0][1])))
    for size, among in zip(np.transpose(found), (sizes, [1, 2]), strict=True):
        counts = [(size == one).mean() for one in among]
        np.testing.assert_allclose(counts, 1 / len(among), atol=0.06)


def test_symbols_are_copied_in_their_order():
    task, episodes = case(mad_copying)
    blank, copy = 4, 5
    assert task.phases == (("symbols", 25), ("delimiter", 1), ("recall", 4))
    for tokens, targets, weights in zip(*episodes[:3], strict=True):
        (at,) = np.nonzero(tokens[:25] != blank)
        assert len(at) == 4
        assert at[-1] == 24, "the last symbol stands before the copy token"
        assert tokens[25] == copy
        np.testing.assert_array_equal(tokens[26:], blank)
        np.testing.assert_array_equal(targets[26:], tokens[at])
        np.testing.assert_array_equal(weights, np.arange(30) > 25)
    # 21 blanks, of which a quarter each, on average, stands before each symbol.
    places = np.argsort(episodes.inputs[:, :25] == blank, axis=1, kind="stable")[:, :4]
    np.testing.assert_allclose(places.mean(0), np.arange(4) + 21 / 4 * np.arange(1, 5), atol=0.3)


def test_all_symbols_are_answered_at_the_last_token():
    task, episodes = case(mad_compression)
    assert (task.steps, task.outputs) == (6, 5 * 4)
    np.testing.assert_array_equal(episodes.inputs[:, -1], 4)
    np.testing.assert_array_equal(episodes.targets[:, -1], episodes.inputs[:, :-1])
    np.testing.assert_array_equal(episodes.weights, np.tile(np.arange(6) == 5, (COUNT, 1)))
    episode = type(episodes)(*(part[0] for part in episodes[:3]))
    answers = np.zeros((6, 5, 4), np.float32)
    answers[-1, np.arange(5), episode.targets[-1]] = 50
    assert float(task.loss(answers.reshape(6, 20), episode)[-1]) < 1e-6
    answers[-1, 0] = 0  # this one is a guess among four
    assert float(task.loss(answers.reshape(6, 20), episode)[-1]) == pytest.approx(np.log(4) / 5)
    answers[-1, 0, episode.targets[-1, 0] - 1] = 50
    assert float(task.metrics(answers.reshape(6, 20), episode)["accuracy"]) == pytest.approx(0.8)


def test_the_mapping_is_the_same_in_all_episodes():
    episodes = case(mad_memorisation)[1]
    keys, questions = episodes.inputs[:, ::2], episodes.inputs[:, 1::2]
    values = episodes.targets[:, 1::2]
    assert (questions == 13).all()
    np.testing.assert_array_equal(episodes.weights, np.tile([0, 1], (COUNT, 5)))
    pairs = {*zip(keys.ravel().tolist(), values.ravel().tolist(), strict=True)}
    assert sorted(key for key, _ in pairs) == list(range(6)), "two values of a key"
    assert len({value for _, value in pairs}) == 6
    assert {value for _, value in pairs} < set(range(6, 13))
    assert not np.array_equal(mapped(6, 7, 0), mapped(6, 7, 1))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (mad_recall, {"length": 127}, "task.length=127 must be even"),
        (mad_recall, {"vocabulary": 3}, "task.vocabulary=3 must be at least 4"),
        (mad_noisy_recall, {"vocabulary": 19}, "task.vocabulary=19 must be at least 20"),
        (mad_noisy_recall, {"noise": 1.0}, "task.noise=1.0 must be .*less than 1"),
        (mad_noisy_recall, {"length": 127}, "task.length=127 must be even"),
        (mad_fuzzy_recall, {"key_tokens": 8}, "task.vocabulary=16 must be at least 17"),
        (mad_fuzzy_recall, {"length": 11}, "task.length=11 must be at least 12"),
        (mad_copying, {"symbols": 128}, "task.length=256 must be at least 257"),
        (mad_compression, {"length": 1}, "task.length=1 must be at least 2"),
        (mad_memorisation, {"length": 31}, "task.length=31 must be even"),
        (mad_memorisation, {"mapping": -1}, "task.mapping=-1 must be at least 0"),
    ],
)
def test_wrong_settings_are_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_published_chance_levels():
    levels = [make().chance for make in OPTIONS]
    assert levels == [1 / 8, 1 / 8, 1 / 8, 1 / 14, 1 / 15, 1 / 127]
