"""Backbones without a rule: settings, plastic layers, attention, initial weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.model import BACKBONES, EncoderSettings
from plasticity.model.positions import rotate
from plasticity.model.scores import visible
from plasticity.model.transformer import TransformerSettings, transformer
from plasticity.network import init_parameters
from plasticity.task import TaskShape
from plasticity.types import LayerShape
from plasticity.unroll import run_episode
from tests.networks import make_inputs, make_network
from tests.sample import sampled

SMALL = {"transformer": {"width": 8, "feed_forward": 6, "heads": 2}}


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"model.heads=3 must divide model.width=8"):
        TransformerSettings(width=8, heads=3)
    with pytest.raises(ValueError, match=r"rotary.*even width per head"):
        TransformerSettings(width=6, heads=2, position="rotary")
    with pytest.raises(ValueError, match=r"model.position='lerned'.*did you mean 'learned'"):
        TransformerSettings(position="lerned")


@pytest.mark.parametrize("name", ["rnn", "leaky_rnn", "lstm", "transformer"])
def test_any_part_may_be_plastic(name):
    """`model.plastic` decides which layers have activities; all others are slow only."""
    make, settings = BACKBONES[name].make, BACKBONES[name].settings
    parts = {
        "rnn": {"input": ["input"], "recurrent": ["hidden", "drive"], "head": ["head/columns"]},
        "transformer": {
            "feed_forward": ["block_0/fc1", "block_0/fc2"],
            "attention": ["block_0/attention/query_key_value", "block_0/attention/out"],
            "head": ["head/columns"],
        },
    }
    parts["lstm"] = parts["leaky_rnn"] = parts["rnn"]
    small = {"transformer": {"layers": 1}}.get(name, {})

    def shapes(plastic):
        made = make(settings(plastic=plastic, **small), EncoderSettings(), TaskShape(4, 2, 5))
        return set(made.shapes)

    for part, layers in parts[name].items():
        assert shapes(part) == set(layers)
    assert shapes(", ".join(parts[name])) == {x for layers in parts[name].values() for x in layers}
    with pytest.raises(ValueError, match=r"model.plastic='heads': 'heads' is not .*'head'"):
        settings(plastic="heads")
    with pytest.raises(ValueError, match=r"model.plastic=''"):
        settings(plastic="")


def test_plastic_layers_are_the_feed_forward_layers():
    backbone = transformer(TransformerSettings(layers=2), EncoderSettings(), TaskShape(3, 5, 4))
    assert backbone.shapes == {
        f"block_{i}/{name}": shape
        for i in range(2)
        for name, shape in (("fc1", LayerShape(256, 128)), ("fc2", LayerShape(128, 256)))
    }
    assert backbone.head == 5 + 1 + 4


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_keep_the_contract(name):
    """Shapes of activities and entries, equal names of layers, a pure `init`."""
    make, settings = BACKBONES[name].make, BACKBONES[name].settings
    backbone = make(settings(**SMALL.get(name, {})), EncoderSettings(), TaskShape(4, 2, 5))
    slow, again = (jax.jit(lambda k: backbone.init(k))(jax.random.key(0)) for _ in range(2))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), slow, again)))
    past = [backbone.blank(5, jnp.float32), backbone.blank(2, jnp.float32)]
    read = {}

    def fast(layer, pre):
        read[layer] = LayerShape(backbone.shapes[layer].outputs, pre.shape[-1])
        return jnp.zeros((pre.shape[0], backbone.shapes[layer].outputs))

    @jax.jit
    def forward(slow, past):
        ahead = backbone.blank_ahead(2, jnp.float32)
        prepared, *_ = backbone.prepare(slow, ahead, jnp.ones((1, 4)), None, 0, None)
        position = jnp.zeros((1,), jnp.int32)
        return backbone.forward(slow, past, prepared, position, fast, None, False)

    out = forward(slow, past)
    assert read == backbone.shapes
    assert out.activities.keys() == backbone.shapes.keys()
    for layer, shape in backbone.shapes.items():
        assert out.activities[layer].pre.shape == (1, shape.inputs)
        assert out.activities[layer].post.shape == (1, shape.outputs)
    assert sum(a.shape[-1] if a.ndim == 2 else 1 for a in out.outputs) == backbone.head
    one = backbone.blank(1, jnp.float32)  # an entry is a segment of one step
    assert jax.tree.map(jnp.shape, out.entry) == jax.tree.map(jnp.shape, one)
    assert jax.tree.map(lambda a: a.dtype, out.entry) == jax.tree.map(lambda a: a.dtype, one)
    empty = forward(slow, ())
    for a, b in zip(jax.tree.leaves(out.outputs), jax.tree.leaves(empty.outputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)  # blank entries are masked


def test_recall_enters_the_linear_output_of_its_own_layer():
    backbone = transformer(
        TransformerSettings(layers=1, width=8, heads=2, feed_forward=6),
        EncoderSettings(),
        TaskShape(3, 2, 1),
    )
    slow = jax.jit(backbone.init)(jax.random.key(0))

    @jax.jit
    def post(extra):
        def fast(layer, pre):
            return jnp.full(
                (1, backbone.shapes[layer].outputs), extra if layer.endswith("fc1") else 0.0
            )

        position = jnp.zeros((1,), jnp.int32)
        prepared, *_ = backbone.prepare(slow, (), jnp.ones((1, 3)), None, 0, None)
        out = backbone.forward(slow, (), prepared, position, fast, None, False)
        return out.activities["block_0/fc1"]

    without, with_recall = post(0.0), post(0.5)
    np.testing.assert_allclose(with_recall.post - without.post, 0.5, rtol=1e-5)
    np.testing.assert_array_equal(with_recall.recall, 0.5)
    np.testing.assert_allclose(
        with_recall.activation, jax.nn.gelu(with_recall.post, approximate=False), rtol=1e-6
    )


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("present", [True, False])
def test_visibility(window, present):
    position = jnp.arange(6)
    mask = np.asarray(visible(position, jnp.append(position, -1), window, present, False))
    for query in range(6):
        for key in range(6):
            recent = query - key <= window if window else True
            assert mask[query, key] == ((key < query or (present and key == query)) and recent)
        assert not mask[query, 6]  # a blank entry


def test_independent_queries_attend_to_the_past_and_themselves():
    query, past = jnp.full((3,), 5), jnp.arange(5)
    np.testing.assert_array_equal(visible(query, query, 0, True, True), np.eye(3, dtype=bool))
    np.testing.assert_array_equal(visible(query, past, 2, False, True), [[0, 0, 0, 1, 1]] * 3)


def test_rotary_scores_depend_on_distance_only():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 2, 8))

    def score(i, j):
        return (rotate(q, jnp.array([i])) * rotate(k, jnp.array([j]))).sum(-1)

    np.testing.assert_allclose(score(5, 2), score(13, 10), rtol=1e-4)
    assert float(jnp.abs(score(5, 2) - score(5, 3)).max()) > 1e-2
    np.testing.assert_allclose(
        jnp.linalg.norm(rotate(q, jnp.array([7]))), jnp.linalg.norm(q), rtol=1e-5
    )


def test_initial_weights_are_those_of_the_paper():
    """U(-1/sqrt(I), 1/sqrt(I)), biases too; attention's input maps are Xavier-uniform, unbiased."""
    shape = TaskShape(10, 10, 3)
    backbone = transformer(TransformerSettings(), EncoderSettings(), shape)
    slow = jax.jit(backbone.init)(jax.random.key(0))
    block = slow["params"]["block_0"]
    for layer, fan_in in ((block["fc1"], 128), (block["fc2"], 256)):
        for values in (layer["kernel"], layer["bias"]):
            bound = fan_in**-0.5
            assert 0.95 * bound < float(jnp.abs(values).max()) <= bound
    stacked = block["attention"]["query_key_value"]
    bound = (6 / (128 + 3 * 128)) ** 0.5
    assert 0.95 * bound < float(jnp.abs(stacked["kernel"]).max()) <= bound
    assert not jnp.any(stacked["bias"])


@pytest.mark.parametrize("backbone", ["transformer", "rnn", "lstm"])
def test_parameters_are_float32_whatever_the_default(backbone, x64):
    model = {"position": "learned"} if backbone == "transformer" else {}
    network = make_network("gradient", backbone=backbone, model=model)
    params = jax.eval_shape(lambda key: init_parameters(network, key), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("leak", sampled([0.25, 1 - 1e-7], lambda leak: leak == 0.25, "thorough"))
def test_a_leaky_rnn_by_its_equation(leak):
    """Each unit keeps 1 - leak of itself; with a leak of 1 it is an RNN."""
    network = make_network("none", backbone="leaky_rnn", model={"leak": leak})
    params = init_parameters(network, jax.random.key(0))
    slow = dict(params.slow["params"])
    np.testing.assert_allclose(jax.nn.sigmoid(slow.pop("leak")), leak, rtol=1e-6)
    slow["head"] = slow["head"]["columns"]
    inputs = make_inputs()
    answers = run_episode(network, params, inputs).outputs.task

    def dense(name, x):
        return x @ slow[name]["kernel"] + slow[name]["bias"]

    h = jnp.zeros(5)
    for x, answer in zip(inputs, answers, strict=True):
        drive = dense("drive", jax.nn.relu(dense("input", x)))
        h = h + leak * (jax.nn.relu(dense("hidden", h) + drive) - h)
        np.testing.assert_allclose(answer, dense("head", h)[:2], rtol=1e-5, atol=1e-6)
    if leak > 0.5:
        same = params._replace(slow={"params": {**params.slow["params"]}})
        del same.slow["params"]["leak"]
        plain = run_episode(make_network("none", backbone="rnn"), same, inputs)
        np.testing.assert_allclose(answers, plain.outputs.task, rtol=1e-5, atol=1e-6)
