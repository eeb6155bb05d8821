"""Tasks whose inputs are tokens: MQAR, formal languages; and the nets that read tokens."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.learner import RandomStream
from plasticity.network import init_parameters
from plasticity.task import TaskShape
from plasticity.tasks.answers import correct
from plasticity.tasks.formal import EQUALS, NUMBERS, modular, parity
from plasticity.tasks.mqar import drawn, mqar
from plasticity.tasks.sequences import PAD
from plasticity.unroll import run_episode
from tests.conftest import GOLDEN
from tests.networks import make_network
from tests.sample import sampled


def draw(task, count, seed=0):
    episodes = jax.jit(jax.vmap(task.sample))(jax.random.split(jax.random.key(seed), count))
    return jax.tree.map(np.asarray, episodes)


@pytest.fixture(scope="module")
def recorded():
    return dict(np.load(GOLDEN / "tasks" / "mqar.npz"))


def check_layout(inputs, labels, vocabulary, pairs, filler):
    """Everything about one episode that does not depend on chance; labels: -100 for none."""
    keys, values = inputs[: 2 * pairs : 2], inputs[1 : 2 * pairs : 2]
    assert len(set(keys)) == len(set(values)) == pairs
    assert 1 <= keys.min() <= keys.max() < vocabulary // 2 <= values.min()
    assert values.max() < vocabulary
    (asked,) = np.nonzero(labels != -100)
    assert len(asked) == pairs
    assert (asked >= 2 * pairs).all()
    assert (asked % 2 == 0).all()
    assert {*zip(inputs[asked], labels[asked], strict=True)} == {*zip(keys, values, strict=True)}
    if filler == "zero":
        assert (np.delete(inputs[2 * pairs :], asked - 2 * pairs) == 0).all()


@pytest.mark.parametrize("filler", ["zero", "random"])
def test_mqar_lays_out_episodes_as_the_published_code(recorded, filler):
    about = {"vocabulary": 8192, "pairs": 4}
    end = "_random_filler" if filler == "random" else ""
    theirs = recorded[f"inputs{end}"], recorded[f"labels{end}"]
    episodes = draw(mqar(filler=filler), 50)
    ours = episodes.inputs, np.where(episodes.weights > 0, episodes.targets, -100)
    for inputs, labels in (theirs, ours):
        assert inputs.shape[1:] == labels.shape[1:] == (64,)
        for one in zip(inputs, labels, strict=True):
            check_layout(*one, **about, filler=filler)
    assert 8000 < ours[0].max() < 8192
    if filler == "random":  # over the whole vocabulary
        assert np.std(ours[0][:, 8:]) == pytest.approx(8192 / 12**0.5, rel=0.05)


def test_mqar_asks_at_the_distances_of_the_published_code(recorded):
    episodes = draw(mqar(vocabulary=64), 10_000)
    occupancy = episodes.weights[:, 8::2].mean(0)
    expected = recorded["slot_occupancy"]  # of 40,000 episodes
    error = np.sqrt(expected * (1 - expected) * (1 / 10_000 + 1 / 40_000))
    assert (abs(occupancy - expected) < 4 * error).all()
    # The first key has the first draw, of which the probabilities are known.
    first = (episodes.inputs[:, 8::2] == episodes.inputs[:, :1]).mean(0)
    error = np.sqrt(recorded["slot_probability"] / 10_000)
    assert (abs(first - recorded["slot_probability"]) < 4 * error).all()


def test_distinct_indices_are_drawn_one_after_the_other():
    """Of weights 1, 2, 3: P(2, then 1) = 3/6 * 2/3."""
    weights = jnp.log(jnp.array([1.0, 2.0, 3.0]))
    keys = jax.random.split(jax.random.key(0), 5000)
    pairs = np.asarray(jax.vmap(lambda key: drawn(key, weights, 2))(keys))
    for first, second in itertools.permutations(range(3), 2):
        share = (1 + first) / 6 * (1 + second) / (5 - first)
        found = (pairs == (first, second)).all(1).mean()
        assert found == pytest.approx(share, abs=4 * (share / 5000) ** 0.5)


@pytest.mark.parametrize("filler", ["zero", "random"])
def test_mqar_is_solved_by_looking_keys_up(filler):
    task = mqar(vocabulary=32, steps=32, pairs=4, filler=filler)

    def look_up(episode):
        pairs = episode.inputs[:8].reshape(4, 2)
        values = ((episode.inputs[:, None] == pairs[:, 0]) * pairs[:, 1]).sum(1)
        return jax.nn.one_hot(values, 32) * 100

    def score(answer, episodes):
        metrics = jax.vmap(lambda e: task.metrics(answer(e), e))(episodes)
        return float(metrics["query_accuracy"].mean())

    episodes = jax.tree.map(jnp.asarray, draw(task, 1000))
    assert score(look_up, episodes) == 1
    blind = score(lambda episode: jax.nn.one_hot(jnp.full(32, 20), 32), episodes)
    assert blind == pytest.approx(task.chance, abs=4 * (task.chance / 4000) ** 0.5)
    losses = jax.vmap(lambda e: task.loss(look_up(e), e))(episodes)
    assert float((losses * episodes.weights).sum()) < 1e-6


def text_of(tokens):
    """The expression, without its end."""
    symbols = {1: "+", 2: "-", 3: "*"}
    return "".join(symbols.get(t) or str(t - NUMBERS) for t in tokens if t not in (PAD, EQUALS))


LENGTHS = {"shortest": 4, "longest": 9, "test_shortest": 8, "test_longest": 16}


def test_of_equal_scores_the_first_is_the_answer():
    """The scores are of few values, so that most have equals."""
    scores, targets = np.random.default_rng(0).integers(0, 3, (200, 6)), np.arange(200) % 6
    right = correct(jnp.asarray(scores, jnp.float32), jnp.asarray(targets))
    np.testing.assert_array_equal(right, scores.argmax(-1) == targets)
    assert 0 < right.mean() < 1
    assert not correct(jnp.full((200, 6), jnp.nan), jnp.asarray(targets)).any()
    one = jnp.asarray(scores, jnp.float32).at[:, 5].set(jnp.nan)
    assert not correct(one, jnp.asarray(targets)).any()


@pytest.mark.parametrize("make", [parity, modular])
def test_formal_languages_are_labelled_as_python_evaluates_them(make):
    task = make(**LENGTHS)
    assert (task.steps, task.training.steps) == (15, 8)
    for part, lengths in ((task, range(8, 17)), (task.training, range(4, 10))):
        episodes = draw(part, 500)
        last = episodes.weights.argmax(1)
        np.testing.assert_array_equal(episodes.weights, np.eye(part.steps)[last])
        for tokens, end, target in zip(episodes.inputs, last, episodes.targets, strict=True):
            assert (tokens[end + 1 :] == PAD).all()
            assert (tokens[: end + 1] != PAD).all()
            if make is parity:
                assert target[end] == (tokens[: end + 1] - 1).sum() % 2
            else:
                assert list(tokens).index(EQUALS) == end
                assert target[end] == eval(text_of(tokens)) % 5
        if make is modular:
            lengths = range(lengths[0] - 1 + lengths[0] % 2, lengths[-1] + 1, 2)
        counts = np.bincount(last + 2, minlength=lengths[-1] + 1)[lengths]
        assert counts.sum() == 500, "another length"
        assert (abs(counts / 500 - 1 / len(lengths)) < 4 * (len(lengths) * 500) ** -0.5).all()


@pytest.mark.parametrize("numbers", sampled([1, 2, 3], lambda numbers: numbers == 2))
def test_the_chance_level_of_modular_arithmetic(numbers):
    """By enumeration of all expressions: always 0."""
    length = 2 * numbers + 1
    task = modular(modulus=4, test_shortest=length, test_longest=length)
    zeros = [
        eval("".join(str(n) + op for n, op in zip(chosen, (*ops, ""), strict=True))) % 4 == 0
        for chosen in itertools.product(range(4), repeat=numbers)
        for ops in itertools.product("+-*", repeat=numbers - 1)
    ]
    assert task.chance == pytest.approx(np.mean(zeros))
    answers = jnp.zeros((task.steps, 4)).at[:, 0].set(1.0)
    episodes = jax.tree.map(jnp.asarray, draw(task, 4000))
    metrics = jax.vmap(lambda e: task.metrics(answers, e))(episodes)
    assert float(metrics["accuracy"].mean()) == pytest.approx(task.chance, abs=0.04)
    assert float(metrics["scaled_accuracy"].mean()) == pytest.approx(0, abs=0.06)


def test_chance_levels_of_the_published_lengths():
    assert parity().chance == 1 / 2
    assert modular().chance == pytest.approx(1 / 5, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (mqar, {"steps": 63}, "task.steps=63 must be even and at least 16"),
        (mqar, {"pairs": 17}, "task.steps=64 must be even and at least 68"),
        (mqar, {"vocabulary": 9}, "task.vocabulary=9 must be at least 10"),
        (mqar, {"filler": "zeros"}, "task.filler='zeros'.*did you mean 'zero'"),
        (parity, {"shortest": 41}, "task.shortest=41 must be at most task.longest=40"),
        (parity, {"test_shortest": 2}, "task.test_shortest=2 must be at least 3"),
        (modular, {"modulus": 1}, "task.modulus=1 must be at least 2"),
    ],
)
def test_wrong_settings_of_token_tasks_are_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_training_has_lengths_of_its_own():
    from plasticity.configs import base
    from plasticity.experiments import build

    config = base.start("none", "parity")
    config.task.update(LENGTHS)
    learner = build.make_learner(config)

    def steps(split):
        start = jnp.int32(0)
        episodes = jax.eval_shape(lambda: learner.episodes(start, split, start, jnp.arange(2)))
        return episodes.inputs.shape

    assert steps(RandomStream.TRAIN) == (2, 8)
    assert steps(RandomStream.VALIDATION) == steps(RandomStream.TEST) == (2, 15)


@pytest.mark.parametrize(
    "backbone", sampled(["transformer", "rnn"], lambda b: b == "rnn", "thorough")
)
def test_tokens_are_rows_of_a_table(backbone):
    """Tokens are read as the vectors that stand for them in the table."""
    width = {"transformer": 8, "rnn": 5}[backbone]
    tokens = jnp.array([3, 0, 3, 1])
    network = make_network("none", backbone=backbone, shape=TaskShape(4, 2, 4, tokens=True))
    params = init_parameters(network, jax.random.key(0))
    slow = dict(params.slow["params"])
    embedding = slow.pop("embed")["embedding"]
    assert embedding.shape == (4, width)
    vectors = make_network("none", backbone=backbone, shape=TaskShape(width, 2, 4))
    if backbone == "transformer":
        slow["embed"] = {"kernel": jnp.eye(width), "bias": jnp.zeros(width)}
    same = params._replace(slow={"params": slow})
    run = jax.jit(lambda *given: run_episode(network, *given).outputs.task)
    by_vectors = jax.jit(lambda *given: run_episode(vectors, *given).outputs.task)
    np.testing.assert_allclose(
        run(params, tokens), by_vectors(same, embedding[tokens]), rtol=1e-5, atol=1e-6
    )
    unknown = run(params, tokens.at[2].set(4))
    assert np.isnan(unknown[2]).all()


@pytest.mark.thorough
def test_tied_answers_are_products_with_the_table():
    """As of a head whose columns for the answers are the rows of the table."""
    shape, tokens = TaskShape(4, 4, 3, tokens=True), jnp.array([3, 0, 1])
    tied, free = (make_network("hebbian", shape=shape, model={"tied": t}) for t in (True, False))
    params = init_parameters(tied, jax.random.key(0))
    slow = params.slow["params"]
    columns, table = slow["head"]["columns"], slow["embed"]["embedding"]
    assert columns["kernel"].shape == (8, 1 + 2)
    whole = {
        "kernel": jnp.concatenate([table.T, columns["kernel"]], 1),
        "bias": jnp.concatenate([jnp.zeros(4), columns["bias"]]),
    }
    same = params._replace(slow={"params": slow | {"head": {"columns": whole}}})
    for found, expected in zip(
        *(
            jax.jit(lambda p, net=net: run_episode(net, p, tokens).outputs)(given)
            for net, given in ((tied, params), (free, same))
        ),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    modulator = [net.backbone.modulator_weights for net in (tied, free)]
    np.testing.assert_array_equal(modulator[0](params.slow), modulator[1](same.slow))


@pytest.mark.parametrize("shape", [TaskShape(4, 4, 3), TaskShape(4, 2, 3, tokens=True)])
def test_answers_are_tied_to_tokens_only(shape):
    with pytest.raises(ValueError, match=r"model\.tied=True must be False"):
        make_network("none", shape=shape, model={"tied": True})
