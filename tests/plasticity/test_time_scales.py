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
    metrics = jax.vmap(task.metrics)(jnp.broadcast_to(answers, episodes.targets.shape), episodes)
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
    task = make(horizons="2,5, 3")
    assert (task.inputs, task.outputs, task.steps) == (3, 3, 21)
    episodes = draw(task)
    lengths = episodes.weights.argmax(1) + 1
    np.testing.assert_array_equal(episodes.weights, np.eye(21)[lengths - 1])
    for tokens, labels, n in zip(episodes.inputs, episodes.targets, lengths, strict=True):
        assert (tokens[n:] == 0).all()
        bits = [int(token) - 1 for token in tokens[:n]]
        assert {*bits} <= {0, 1}
        if make is n_parity:
            expected = [sum(bits[-2:]) % 2, sum(bits[-5:]) % 2, sum(bits[-3:]) % 2]
        else:
            expected = [bits[-1] == bits[-2], bits[-1] == bits[-5], bits[-1] == bits[-3]]
        assert labels[n - 1].tolist() == expected
    counts = np.bincount(lengths)
    assert counts[:7].sum() == 0
    assert (abs(counts[7:22] / COUNT - 1 / 15) < 4 * (15 * COUNT) ** -0.5).all()
    assert len(counts) == 22
    at_end = episodes.targets[np.arange(COUNT), lengths - 1]
    np.testing.assert_allclose(at_end.mean(0), 1 / 2, atol=2 * COUNT**-0.5)
    right = score(task, 2 * episodes.targets - 1, episodes)
    assert right == {"accuracy": 1, "largest_accuracy": 1}
    swapped = score(task, (2 * episodes.targets - 1) * np.array([1, -1, 1]), episodes)
    assert swapped == {"accuracy": pytest.approx(2 / 3), "largest_accuracy": 0}


@pytest.mark.parametrize("biased", [False, True])
def test_chance_levels_of_parities(biased):
    """Always "even"."""
    task = n_parity(horizons="2,3,4", biased=biased)
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


@pytest.mark.parametrize("horizons", ["", "2,,3", "1,2", "2,2", "2,-3", "2.5", "two", "2,10001"])
@pytest.mark.parametrize("make", [n_parity, delayed_match])
def test_wrong_horizons_are_named(make, horizons):
    with pytest.raises(ValueError, match=f"task.horizons='{horizons}' must be different integers"):
        make(horizons=horizons)
