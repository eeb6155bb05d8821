"""Tasks: the layout of their episodes, chance levels and optima. Every entry is tested."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.data import DataError
from plasticity.task import TaskShape
from plasticity.task_checks import check_task
from plasticity.tasks import TASKS
from plasticity.tasks.copying import copying
from plasticity.tasks.cue_reward import cue_reward
from plasticity.tasks.regression import FAMILIES, regression
from tests.sample import sampled


def first(stack):
    return jax.tree.leaves(stack)[0]


@pytest.mark.parametrize("name", TASKS)
def test_tasks_keep_the_contract(name):
    try:
        task = TASKS[name]()
    except DataError as error:
        pytest.skip(str(error))
    check_task(task)
    for split in task.data or {"": None}:
        data = task.data and jax.tree.map(jnp.asarray, task.data[split])
        sample = jax.jit(task.sample)
        episode = sample(jax.random.key(0), data)
        answers = len(episode.weights)
        is_query = 0 if episode.queries is None else len(first(episode.queries))
        assert len(first(episode.inputs)) == task.steps
        assert answers == task.steps + is_query
        assert len(task.events) == task.steps
        assert task.phases[0][1] > 0, "the informative span comes first"
        vector = episode.inputs.vector if task.image else episode.inputs
        if task.tokens:
            assert vector.dtype == jnp.int32
            assert vector.ndim == 1
            assert 0 <= int(vector.min()) <= int(vector.max()) < task.inputs
        else:
            assert vector.shape[1:] == (task.inputs,)
        assert task.trained_on.shape._replace(steps=task.steps) == task.shape
        if task.image:
            assert episode.inputs.image.shape == (task.steps, *task.image)
        assert float(episode.weights.sum()) > 0
        assert all(len(leaf) == answers for leaf in jax.tree.leaves(episode.targets))
        again, other = sample(jax.random.key(0), data), sample(jax.random.key(1), data)
        same = [
            bool((a == b).all())
            for a, b in zip(*map(jax.tree.leaves, (episode, again)), strict=True)
        ]
        assert all(same), "not a pure function of the key"
        assert bool((first(episode.inputs) != first(other.inputs)).any())
        outputs = jax.ShapeDtypeStruct((answers, task.outputs), jnp.float32)
        assert jax.eval_shape(task.loss, outputs, episode).shape == (answers,)
        metrics = jax.eval_shape(task.metrics, outputs, episode)
        assert task.main_metric in metrics
        assert all(value.shape == () for value in metrics.values())


def tokens(episode):
    return np.asarray(episode.inputs.argmax(-1))


def test_copying_lays_out_symbols_blanks_delimiter_recall():
    task = copying(seq_length=3, delay=4, vocabulary=6)
    assert task.steps == 11
    for seed in range(20):
        episode = task.sample(jax.random.key(seed))
        shown = tokens(episode)
        assert set(shown[:3]) <= {1, 2, 3, 4}
        np.testing.assert_array_equal(shown[3:], [0, 0, 0, 0, 5, 0, 0, 0])
        np.testing.assert_array_equal(episode.targets, [0] * 8 + list(shown[:3]))
        np.testing.assert_array_equal(episode.inputs.sum(-1), 1)


def test_copying_symbols_are_uniform():
    episodes = jax.vmap(copying().sample)(jax.random.split(jax.random.key(0), 2000))
    counts = np.bincount(np.asarray(episodes.inputs[:, :5].argmax(-1)).ravel(), minlength=10)
    assert counts[0] == counts[9] == 0
    np.testing.assert_allclose(counts[1:9] / counts.sum(), 1 / 8, atol=0.015)


def score(answer, **options):
    task = copying(**options)
    episodes = jax.vmap(task.sample)(jax.random.split(jax.random.key(3), 500))
    logits = jax.vmap(answer)(episodes)
    losses = jax.vmap(task.loss)(logits, episodes)
    weighted = (losses * episodes.weights).sum(1) / episodes.weights.sum(1)
    metrics = jax.vmap(task.metrics)(logits, episodes)
    return float(weighted.mean()), {k: float(v.mean()) for k, v in metrics.items()}


@pytest.mark.thorough
def test_copying_scores_of_the_best_predictors_with_and_without_inputs():
    """Known values without inputs: loss 5 ln 8 / 31 = .3354, and 11 blanks of 16 right."""

    def optimum(episode):
        return 100.0 * jax.nn.one_hot(episode.targets, 10)

    def input_independent(episode):
        """Blanks at the steps of blanks, all symbols equally likely in the recall."""
        blank = jnp.array([100.0] + [-100.0] * 9)
        symbols = jnp.array([-100.0] + [0.0] * 8 + [-100.0])
        return jnp.where(jnp.arange(31)[:, None] < 26, blank, symbols)

    loss, metrics = score(optimum)
    assert loss < 1e-6
    assert metrics == {"recall_accuracy": 1.0, "paper_recall_accuracy": 1.0}
    loss, metrics = score(input_independent)
    assert loss == pytest.approx(0.3354, abs=1e-4)
    assert metrics["recall_accuracy"] == pytest.approx(1 / 8, abs=0.02)
    blanks = (11 + 5 * metrics["recall_accuracy"]) / 16
    assert metrics["paper_recall_accuracy"] == pytest.approx(blanks, abs=1e-6)
    loss, _ = score(input_independent, loss_steps="recall")
    assert loss == pytest.approx(np.log(8), abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seq_length": 0}, "task.seq_length=0 must be at least 1"),
        ({"delay": -1}, "task.delay=-1 must be at least 0"),
        ({"vocabulary": 3}, "task.vocabulary=3 must be at least 4"),
        ({"loss_steps": "recal"}, "task.loss_steps='recal' is unknown: did you mean 'recall'"),
    ],
)
def test_copying_refuses_what_makes_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        copying(**options)


def draw(task, count=500, seed=3):
    data = task.data and jax.tree.map(jnp.asarray, task.data["train"])
    sample = jax.jit(jax.vmap(task.sample, (0, None)))
    return sample(jax.random.split(jax.random.key(seed), count), data)


def mean_metrics(task, answer, episodes):
    """Mean metrics of the answers answer(episode)."""
    metrics = jax.jit(jax.vmap(lambda e: task.metrics(answer(e), e)))(episodes)
    return {name: float(values.mean()) for name, values in metrics.items()}


@pytest.mark.parametrize("shuffle", [True, False])
def test_cue_reward_queries_every_cue_once(shuffle):
    task = cue_reward(num_pairs=4, cue_dim=6, shuffle=shuffle)
    episodes = draw(task)
    cues, rewards, is_query = jnp.split(episodes.inputs, [6, 7], axis=-1)
    np.testing.assert_array_equal(is_query[..., 0], np.tile([0, 0, 0, 0, 1, 1, 1, 1], (500, 1)))
    np.testing.assert_array_equal(rewards[:, 4:], 0)
    np.testing.assert_array_equal(rewards[:, :4], episodes.targets[:, :4])
    first, second = cues[:, :4].argmax(-1), cues[:, 4:].argmax(-1)
    assert all(len(set(row)) == 4 for row in first.tolist())
    same = bool((first == second).all())
    np.testing.assert_array_equal(jnp.sort(first), jnp.sort(second))
    assert same != shuffle
    looked_up = (cues[:, 4:] @ jnp.swapaxes(cues[:, :4], 1, 2)) @ rewards[:, :4]
    np.testing.assert_allclose(looked_up, episodes.targets[:, 4:], rtol=1e-6)


def test_cue_reward_scores():
    task = cue_reward()
    episodes = draw(task, 2000)
    of_the_mean = mean_metrics(task, lambda e: jnp.full_like(e.targets, 0.5), episodes)
    assert of_the_mean["query_mse"] == pytest.approx(task.chance, rel=0.05)
    perfect = mean_metrics(task, lambda e: e.targets, episodes)
    assert perfect == {"query_mse": 0, "paper_validation_mse": 0}
    shown = mean_metrics(task, lambda e: jnp.where(e.inputs[:, -1:] > 0, 0.5, e.targets), episodes)
    assert shown["paper_validation_mse"] == pytest.approx(shown["query_mse"] / 2)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    sampled([(1, 3.0), (3, 1.0), (4, 0.0), (10, 0.0)], lambda case: case[0] in (1, 4)),
)
def test_linear_regression_has_the_known_optimum(pairs, expected):
    """Least squares: 4 - k after k pairs in three dimensions, then 0."""
    task = regression(k_support=pairs)
    episodes = draw(task, 4000)

    def solve(e):
        x = jnp.append(e.inputs[:, :3], jnp.ones((pairs + 10, 1)), axis=1)
        weights = jnp.linalg.pinv(x[:pairs]) @ e.targets[:pairs]
        return x @ weights

    with jax.default_matmul_precision("float32"):
        solved = mean_metrics(task, solve, episodes)["query_mse"]
    assert solved == pytest.approx(expected, rel=0.15, abs=1e-3)
    of_the_mean = mean_metrics(task, lambda e: jnp.zeros_like(e.targets), episodes)["query_mse"]
    assert of_the_mean == pytest.approx(task.chance, rel=0.15)


@pytest.mark.parametrize("family", FAMILIES)
def test_regression_hides_the_targets_of_queries(family):
    dim = 1 if family == "sinusoid" else 3
    task = regression(family=family, input_dim=dim, noise=0.5)
    episodes = draw(task, 300)
    _, y, is_query = jnp.split(episodes.inputs, [dim, dim + 1], axis=-1)
    np.testing.assert_array_equal(y[:, 10:], 0)
    np.testing.assert_array_equal(is_query[..., 0], np.tile([0] * 10 + [1] * 10, (300, 1)))
    noise = y[:, :10] - episodes.targets[:, :10]
    assert float(noise.std()) == pytest.approx(0.5, rel=0.1)
    assert 1 < float(episodes.targets.var()) < 14


def test_orders_hold_the_same_episode():
    stream, apart = regression(order="stream"), regression(order="independent")
    assert (stream.steps, apart.steps) == (20, 10)
    one, two = stream.sample(jax.random.key(0), None), apart.sample(jax.random.key(0), None)
    np.testing.assert_array_equal(one.inputs, jnp.concatenate([two.inputs, two.queries]))
    np.testing.assert_array_equal(one.targets, two.targets)
    np.testing.assert_array_equal(one.weights, two.weights)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (cue_reward, {"num_pairs": 0}, "task.num_pairs=0 must be at least 1"),
        (cue_reward, {"cue_dim": 7}, "task.cue_dim=7 must be at least task.num_pairs=8"),
        (cue_reward, {"cue_dim": 0, "cues": "vectors"}, "task.cue_dim=0 must be at least 1"),
        (cue_reward, {"loss_steps": "queries"}, "task.loss_steps='queries'.*did you mean 'query'"),
        (regression, {"family": "liner"}, "task.family='liner'.*did you mean 'linear'"),
        (regression, {"order": "random"}, "task.order='random'"),
        (regression, {"noise": -1}, "task.noise=-1 must be at least 0"),
        (regression, {"family": "sinusoid"}, "task.input_dim=3 must be 1"),
    ],
)
def test_wrong_settings_of_tasks_are_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_numbers_are_copied_like_symbols():
    task = copying(seq_length=3, delay=2, content="reals", loss_steps="recall")
    inputs, targets, weights, _ = task.sample(jax.random.key(0), None)
    assert task.shape == TaskShape(2, 1, 9)
    np.testing.assert_array_equal(targets[6:, 0], inputs[:3, 0])
    assert (inputs[3:, 0] == 0).all()
    np.testing.assert_array_equal(inputs[:, 1], np.arange(9) == 5)
    np.testing.assert_array_equal(weights, np.arange(9) >= 6)
    episodes = jax.vmap(task.sample, (0, None))(jax.random.split(jax.random.key(0), 2000), None)
    of_the_mean = jax.vmap(task.metrics)(jnp.zeros((2000, 9, 1)), episodes)["recall_mse"].mean()
    np.testing.assert_allclose(of_the_mean, task.chance, rtol=0.05)


def test_noisy_vector_cues_drawn_anew():
    """Duan et al. 2023: predicting the mean scores 1/3, recalling the support scores .036."""
    task = cue_reward(
        num_pairs=5, cue_dim=14, cues="vectors", cue_noise=0.1, rewards="signed", draws=10
    )
    assert task.shape == TaskShape(16, 1, 20)
    count = 2000
    episodes = jax.vmap(task.sample, (0, None))(jax.random.split(jax.random.key(0), count), None)
    assert len(np.unique(episodes.targets[0])) <= 5
    of_the_mean = jax.vmap(task.metrics)(jnp.zeros((count, 20, 1)), episodes)["query_mse"].mean()
    np.testing.assert_allclose(of_the_mean, task.chance, rtol=0.05)
    assert abs(task.chance - 1 / 3) < 1e-9
    shown, is_query = episodes.targets[:, :10, 0], episodes.targets[:, 10:, 0]
    known = (is_query[:, :, None] == shown[:, None]).any(-1)
    best = jax.vmap(task.metrics)(
        jnp.concatenate([episodes.targets[:, :10], (known * is_query)[..., None]], 1), episodes
    )
    np.testing.assert_allclose(best["query_mse"].mean(), 0.8**10 / 3, rtol=0.1)
    # Half of that is the loss over all steps: .0179.
    np.testing.assert_allclose(best["paper_validation_mse"].mean(), 0.0179, rtol=0.1)


def test_standardised_values():
    task = regression(input_dim=12, k_support=20, standardise=True)
    _, targets, _, _ = task.sample(jax.random.key(0), None)
    np.testing.assert_allclose(targets.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(targets.std(ddof=1), 1, rtol=1e-5)
    assert task.chance == 29 / 30
