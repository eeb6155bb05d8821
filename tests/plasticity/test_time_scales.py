"""N-parity and N-delayed match: labels, lengths, chance levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.tasks.time_scales import delayed_match, matches, n_parity, parities
from tests.conftest import GOLDEN

COUNT = 4000


def draw(task):
    keys = jax.random.split(jax.random.key(0), COUNT)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(task.sample))(keys))


def score(task, answers, episodes):
    shape = (*episodes.weights.shape, task.outputs)
    metrics = jax.vmap(task.metrics)(jnp.broadcast_to(answers, shape), episodes)
    return {name: float(values.mean()) for name, values in metrics.items()}


@pytest.mark.parametrize(("label", "name"), [(parities, "parity"), (matches, "match")])
def test_labels_are_those_of_the_published_code(label, name):
    recorded = np.load(GOLDEN / "tasks" / "parity_match.npz")
    bits, expected = recorded[f"{name}_inputs"], recorded[f"{name}_labels"]
    horizons = recorded["N"].tolist()
    found = jax.vmap(lambda one: label(one, horizons))(jnp.asarray(bits))
    assert found.shape == (*bits.shape, len(horizons))
    np.testing.assert_array_equal(found[:, -1], expected)


@pytest.mark.parametrize("make", [n_parity, delayed_match])
def test_streams_are_labelled_at_their_last_bit(make):
    task = make(largest=5, heads=3)
    assert (task.inputs, task.outputs, task.steps) == (3, 4, 21)
    episodes = draw(task)
    lengths = episodes.weights.argmax(1) + 1
    np.testing.assert_array_equal(episodes.weights, np.eye(21)[lengths - 1])
    for tokens, labels, n in zip(episodes.inputs, episodes.targets, lengths, strict=True):
        assert (tokens[n:] == 0).all()
        bits = [int(token) - 1 for token in tokens[:n]]
        assert {*bits} <= {0, 1}
        if make is n_parity:
            expected = [sum(bits[-n:]) % 2 for n in (3, 4, 5)]
        else:
            expected = [bits[-1] == bits[-n] for n in (3, 4, 5)]
        assert labels[n - 1].tolist() == expected
    counts = np.bincount(lengths)
    assert counts[:7].sum() == 0
    assert (abs(counts[7:22] / COUNT - 1 / 15) < 4 * (15 * COUNT) ** -0.5).all()
    assert len(counts) == 22
    at_end = episodes.targets[np.arange(COUNT), lengths - 1]
    np.testing.assert_allclose(at_end.mean(0), 1 / 2, atol=2 * COUNT**-0.5)
    # The output for N = 2 is not asked.
    answers = np.pad(2 * episodes.targets - 1, ((0, 0), (0, 0), (1, 0)))
    assert {*score(task, answers, episodes).values()} == {1}
    found = score(task, answers * np.array([1, 1, 1, -1]), episodes)
    wrong = {"largest_accuracy": 0, "horizon_3": 1, "horizon_4": 1, "horizon_5": 0}
    assert found == {"accuracy": pytest.approx(2 / 3)} | wrong


def test_which_n_are_asked():
    def asked(**fields):
        return [int(name[8:]) for name in n_parity(**fields).metric_names if "horizon" in name]

    assert asked() == [2, 3, 4]
    assert asked(largest=3, heads=1, outputs_to=9) == [3]
    assert asked(largest=3, heads=4) == [2, 3]
    assert n_parity(largest=3, outputs_to=9).outputs == 8


@pytest.mark.parametrize("biased", [False, True])
def test_chance_levels_of_parities(biased):
    """Always "even"."""
    task = n_parity(biased=biased)
    episodes = draw(task)
    found = score(task, -1.0, episodes)
    error = 4 * 0.5 / COUNT**0.5
    assert task.chance == pytest.approx(1 / 2 + biased * (1 / 6 + 1 / 10) / 3)
    assert found["accuracy"] == pytest.approx(task.chance, abs=error)
    assert found["largest_accuracy"] == pytest.approx(1 / 2 + biased / 10, abs=error)
    means = [tokens[tokens > 0].mean() - 1 for tokens in episodes.inputs]
    assert (np.std(means) > 0.25) == biased  # uniform: .29


def test_chance_level_of_matches():
    task = delayed_match()
    found = score(task, 1.0, draw(task))
    assert task.chance == 1 / 2
    assert found["accuracy"] == pytest.approx(1 / 2, abs=2 / COUNT**0.5)


@pytest.mark.parametrize("make", [n_parity, delayed_match])
def test_an_n_without_an_output_is_named(make):
    with pytest.raises(ValueError, match=r"task.outputs_to=3 must be at least task.largest=4"):
        make(outputs_to=3)
