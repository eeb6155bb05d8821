"""Counter-current learning: which layer learns from what, one step by hand, whole classifiers."""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity.learner import Hyperparameters, Learner, RandomStream
from plasticity.memory import dense
from plasticity.model import ClassifierSettings, EncoderSettings, classifier
from plasticity.network import Network
from plasticity.outer.counter_current import Alignment, alignment, counter_current
from plasticity.rules import none
from plasticity.task import Episode, Observation, TaskShape
from plasticity.tasks.classify import classify
from plasticity.tasks.mqar import mqar
from plasticity.tasks.regression import regression
from tests import pools
from tests.sample import sampled

SEED = jnp.zeros((), jnp.int32)
EXAMPLES, CLASSES = 6, 3
LABELS = np.array([0, 1, 2, 2, 1, 0])


def make(net, credit="counter_current"):
    """A small classifier of images 16 x 16, and an episode of them."""
    shape = TaskShape(0, CLASSES, EXAMPLES, (16, 16, 1))
    settings = ClassifierSettings(net=net, hidden=5, layers=2, credit=credit, spread=0.3)
    backbone = classifier(settings, EncoderSettings(filters=8), shape)
    images = jax.random.normal(jax.random.key(1), (EXAMPLES, 16, 16, 1))
    inputs = Observation(images, jnp.zeros((EXAMPLES, 0)))
    return backbone, Episode(inputs, jnp.asarray(LABELS), jnp.ones(EXAMPLES))


def cross_entropy(backbone, episode, slow):
    x, _, _ = backbone.prepare(slow, (), episode.inputs, None)
    answers = backbone.forward(slow, (), x, None, None, None).outputs.task
    return optax.softmax_cross_entropy_with_integer_labels(answers, episode.targets).mean()


LAYERS = {
    "feed_forward": [["layer_0"], ["layer_1"], ["answers"]],
    "conv4": [[f"encoder/{part}_{i}" for part in ("conv", "GroupNorm")] for i in range(4)]
    + [["answers"]],
}


@pytest.mark.parametrize("net", sampled(LAYERS, lambda net: net != "conv4", "thorough"))
def test_no_gradient_crosses_a_layer(net, monkeypatch):
    """Loss l reaches the layer below it and the mirror above it; all else gets exactly zero."""
    backbone, episode = make(net)
    slow = backbone.init(jax.random.key(0))
    found = []
    module = importlib.import_module("plasticity.model.classifier")

    def recorded(*arguments):
        answers, losses = counter_current(*arguments)
        found.append(losses.mean(1))
        return answers, losses

    monkeypatch.setattr(module, "counter_current", recorded)

    def losses(slow):
        found.clear()
        backbone.local_loss(slow, episode)
        return jnp.append(found[0], cross_entropy(backbone, episode, slow))

    grads = jax.jit(jax.jacrev(losses))(slow)
    levels = len(LAYERS[net])
    reached = {
        ("/".join(key.key for key in path[1:-1]), level)
        for path, grad in jax.tree_util.tree_leaves_with_path(grads)
        for level in range(levels + 1)
        if np.any(np.asarray(grad)[level])
    }
    allowed = set()
    for level, names in enumerate(LAYERS[net]):
        inside = "" if net == "conv4" and level < 4 else "/dense"
        allowed |= {(name + inside, level + 1) for name in names}
        part = "conv" if net == "conv4" and level < 4 else "dense"
        allowed.add((f"mirror_{level}/{part}", level))
    assert reached == allowed


def test_backpropagation_crosses_all_layers():
    """The test above can fail: the same network, whose loss reaches every layer."""
    backbone, episode = make("feed_forward", "backprop")
    slow = backbone.init(jax.random.key(0))
    assert backbone.local_loss is None
    grads = jax.grad(partial(cross_entropy, backbone, episode))(slow)
    assert all(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("net", sampled(LAYERS, lambda net: net != "conv4", "thorough"))
def test_the_network_is_the_same_under_both(net):
    local, episode = make(net)
    other, _ = make(net, "backprop")
    ours, theirs = (backbone.init(jax.random.key(3)) for backbone in (local, other))
    both = {name: part for name, part in ours["params"].items() if "mirror" not in name}
    jax.tree.map(np.testing.assert_array_equal, both, theirs["params"])
    assert cross_entropy(local, episode, ours) == cross_entropy(other, episode, theirs)


def by_hand(weights, x, labels, settings, rate):
    """One step of gradient descent on all losses, with NumPy: no automatic derivative."""
    (up, down), (heat, spread) = weights, settings
    size, classes = labels.shape
    a, b = [x], [np.eye(classes)]
    for w in up:
        a.append(np.tanh(a[-1] @ w))
    for w in down[::-1]:
        b.insert(0, np.tanh(b[0] @ w))

    def norm(y):
        return np.linalg.norm(y, axis=1, keepdims=True)

    def softmax(y):
        return np.exp(y) / np.exp(y).sum(1, keepdims=True)

    def unit(y):
        return (y - y.mean(0)) / norm(y - y.mean(0))

    def through(grad, y):
        """The gradient for the argument of y, a tanh, from that for unit(y)."""
        along = (grad * unit(y)).sum(1, keepdims=True) * unit(y)
        centred = (grad - along) / norm(y - y.mean(0))
        return (centred - centred.mean(0)) * (1 - y**2)

    new_up, new_down = [w.copy() for w in up], [w.copy() for w in down]
    for level in range(len(up)):
        p, q = unit(a[level]), unit(b[level])
        error = 2 * (p @ q.T - labels) / (size * classes)
        if heat:
            error = (softmax(p @ q.T / heat) - labels) / (size * heat)
        if level:
            own = 4 * spread * (p @ p.T - np.eye(size)) @ p / size**2
            new_up[level - 1] -= rate * a[level - 1].T @ through(error @ q + own, a[level])
        own = 4 * spread * (q @ q.T - np.eye(classes)) @ q / classes**2
        new_down[level] -= rate * b[level + 1].T @ through(error.T @ p + own, b[level])
    answers = a[-1]
    new_up[-1] -= rate * a[-2].T @ ((softmax(answers) - labels) / size * (1 - answers**2))
    return new_up, new_down


def random_weights(rng):
    up = [rng.normal(size=shape) for shape in ((4, 5), (5, 6), (6, CLASSES))]
    down = [rng.normal(size=shape) for shape in ((5, 4), (6, 5), (CLASSES, 6))]
    return up, down


def stepped(weights, x, labels, settings=Alignment(0.4, 0.3), rate=0.7):
    """The same step by the library, of a network in plain JAX."""

    def objective(weights):
        layers, mirrors = ([lambda y, w=w: jnp.tanh(y @ w) for w in side] for side in weights)
        answers, losses = counter_current(layers, mirrors, x, labels, settings)
        return losses.sum(0).mean() + optax.softmax_cross_entropy(answers, labels).mean()

    return jax.tree.map(lambda w, g: w - rate * g, weights, jax.grad(objective)(weights))


@pytest.mark.parametrize("settings", [Alignment(0.0, 0.3), Alignment(0.4, 0.0)])
def test_one_step_by_hand(settings, x64):
    rng = np.random.default_rng(0)
    weights, x, labels = random_weights(rng), rng.normal(size=(6, 4)), np.eye(CLASSES)[LABELS]
    expected = by_hand(weights, x, labels, settings, rate=0.7)
    step = jax.jit(lambda *arguments: stepped(*arguments, settings))
    found = step(jax.tree.map(jnp.asarray, weights), jnp.asarray(x), jnp.asarray(labels))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(tuple(expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_seeds_may_be_mapped():
    rng = np.random.default_rng(0)
    seeds = [random_weights(rng) for _ in range(3)]
    x, labels = jnp.asarray(rng.normal(size=(6, 4))), jnp.eye(CLASSES)[LABELS]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *seeds)
    one = jax.jit(stepped)
    together = jax.jit(jax.vmap(stepped, (0, None, None)))(stacked, x, labels)
    for i, weights in enumerate(seeds):
        alone = one(jax.tree.map(jnp.asarray, weights), x, labels)
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-6)


def test_alignment_is_least_where_classes_are_apart_and_examples_at_their_own():
    """Of three classes, centred: one is at cosine -1/2 to the others, and so is the least loss."""
    classes, examples = jnp.eye(CLASSES), 2 * jnp.eye(CLASSES)[LABELS] + 5
    found = alignment(examples, 3 * classes, classes[LABELS], Alignment())
    np.testing.assert_allclose(found, (0 + 1 / 4 + 1 / 4) / 3, rtol=1e-5)
    confused = alignment(examples, 3 * jnp.roll(classes, 1, 0), classes[LABELS], Alignment())
    np.testing.assert_allclose(confused, (9 / 4 + 1 + 1 / 4) / 3, rtol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("credit", ["backprop", "counter_current"])
def test_both_learn_through_the_learner(credit, monkeypatch):
    pools.install(monkeypatch, pools.patterns())
    task = classify(labels=3, images=16)
    settings = ClassifierSettings(hidden=16, layers=2, credit=credit)
    backbone = classifier(settings, EncoderSettings(), task.shape)
    network = Network(backbone, none(), dense())
    learner = Learner(task, lambda hyper: network, 1, 100, 5, "constant")
    hyper = Hyperparameters({}, 3e-3, 0.0, 5.0, task.data["train"])

    @jax.jit
    def trained():
        def step(state, _):
            return learner.train_step(state, SEED, hyper)

        state, metrics = jax.lax.scan(step, learner.init(SEED, hyper), length=100)
        test = hyper._replace(data=task.data["test"])
        on = learner.evaluate(state.params, SEED, RandomStream.TEST, jnp.arange(8), test, True)
        return metrics, on["accuracy"].mean()

    metrics, accuracy = trained()
    assert accuracy > 0.9
    assert ("auxiliary" in metrics) == (credit == "counter_current")
    if credit == "counter_current":
        assert metrics["auxiliary"][-5:].mean() < 0.7 * metrics["auxiliary"][:5].mean()


def test_wrong_uses_say_what_would_be_right():
    layers = [lambda y: y] * 2
    x, labels = jnp.ones((2, 3)), jnp.eye(2)
    with pytest.raises(ValueError, match="2 layers have 1 mirrors"):
        counter_current(layers, layers[:1], x, labels)
    with pytest.raises(ValueError, match="mirror 0 returns activities of 2 numbers, but layer 0"):
        counter_current(layers, layers, x, labels)
    vectors = regression().shape
    for shape, settings, encoder, message in (
        (vectors, {"net": "conv4"}, {}, "model.net='conv4' must be 'feed_forward'"),
        (mqar().shape, {}, {}, "not tokens"),
        (
            TaskShape(0, 3, 4, (16, 16, 1)),
            {"net": "conv4"},
            {"projection": 5},
            "encoder.projection=5 must be 0",
        ),
        (TaskShape(0, 3, 4, (15, 16, 1)), {"net": "conv4"}, {}, "15 x 16 pixels are too small"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier(ClassifierSettings(**settings), EncoderSettings(**encoder), shape)
    local = classifier(ClassifierSettings(credit="counter_current"), EncoderSettings(), vectors)
    episode = jax.eval_shape(regression().sample, jax.random.key(0))
    with pytest.raises(ValueError, match="must be 'backprop' for this task"):
        local.local_loss({}, episode)
