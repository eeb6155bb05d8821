"""Memories in the place of attention, or with it: all steps at once are the steps one by one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.episode import scan_episode
from plasticity.layer import MemoryLayer
from plasticity.memory import ENGINES
from plasticity.model import EncoderSettings, MemoryLayerSettings, MemorySpec
from plasticity.model.convolution import Inputs, ShortConvolution
from plasticity.model.transformer import TransformerSettings, transformer
from plasticity.network import Network, init_parameters
from plasticity.rules import RULES, none
from plasticity.task import TaskShape
from plasticity.unroll import run_episode
from tests.sample import sampled

STEPS, WIDTH = 6, 8
SMALL = MemoryLayerSettings(heads=2, chunk=4)
IN_A_BLOCK = {"segment": 1, "persistent": 2}


def make(
    rule="gated_delta", mixer="memory", plastic="none", engine="dense", window=2, layers=1, **site
):
    """A network with a memory, and its parameters."""
    rule = RULES[rule]() if isinstance(rule, str) else rule
    sizes = {"layers": layers, "heads": 2, "width": WIDTH, "feed_forward": 8, "auxiliary": 0}
    kind = {"attention_window": window, "mixer": mixer, "plastic": plastic, "dropout": 0.0}
    memory = MemorySpec(rule, dataclasses.replace(SMALL, **IN_A_BLOCK | site), WIDTH)
    settings = TransformerSettings(**sizes, **kind)
    backbone = transformer(settings, EncoderSettings(), TaskShape(3, 2, STEPS), memory)
    hebbian = none() if plastic == "none" else RULES["hebbian"](eta0=1.0)
    network = Network(backbone, hebbian, ENGINES[engine](3, hebbian.form), site_rule=rule)
    network = network._replace(site_memory=ENGINES[engine](3, rule.form), site_chunk=4)
    params = init_parameters(network, jax.random.key(0))
    # Parameters that start at 0 or 1 would hide what they do.
    moved = jax.tree.map(lambda a: a + 0.1 * jnp.sin(jnp.arange(a.size)).reshape(a.shape), params)
    return network, jax.tree.map(lambda a: a.astype(float), moved)


def draw(steps=STEPS, seed=2):
    return jax.random.normal(jax.random.key(seed), (steps, 3), float)


def close(ours, theirs, tolerance=1e-9):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), ours, theirs
    )


def with_gradient(run, network, params):
    """Outputs of steps and queries, and a gradient of them."""

    def loss(params):
        out = run(network, params, draw(), queries=draw(2, 5)).outputs
        return (out.task * jnp.cos(jnp.arange(out.task.size)).reshape(out.task.shape)).sum(), out

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


def answers(network, params, inputs, state=None, queries=None):
    def run(params, inputs, state, queries):
        trace = run_episode(network, params, inputs, None, queries, state)
        return trace.outputs.task, trace.state

    return jax.jit(run)(params, inputs, state, queries)


SOFTMAX = {"feature": "softmax", "key_norm": "none"}
# One of each kind: queries, free and transposed reads, several layers, momentum, two terms.
ONLINE = {"gated_delta": {}, "mesa": {}, "oja_gated": {}, "srwm": SOFTMAX, "rwkv7": {}}
DEEP = RULES["titans"](memory="mlp", hidden=3)


@pytest.mark.parametrize(
    "rule",
    [
        *sampled(ONLINE, lambda rule: rule == "gated_delta"),
        pytest.param(DEEP, id="deep", marks=pytest.mark.slow),
    ],
)
def test_all_steps_at_once_are_the_steps_one_by_one(rule, x64):
    network, params = make(rule, **(ONLINE[rule] if isinstance(rule, str) else {}))
    assert network.at_once
    close(*(with_gradient(run, network, params) for run in (run_episode, scan_episode)))


@pytest.mark.slow  # by default their answers in pieces, below
@pytest.mark.parametrize(("mixer", "window"), [("context", 2), ("gate", 2), ("layer", 0)])
def test_so_they_are_beside_attention(mixer, window, x64):
    network, params = make(mixer=mixer, window=window, layers=1 + (mixer == "layer"))
    close(*(with_gradient(run, network, params) for run in (run_episode, scan_episode)))


@pytest.mark.slow  # by default the engines of plastic layers in test_unroll.py, both in test_own.py
@pytest.mark.parametrize("engine", ["factored", "chunked"])
def test_beside_plastic_layers_every_engine_is_the_dense_one(engine, x64):
    settings = {"plastic": "feed_forward", "convolution": 2}
    network, params = make(engine=engine, **settings)
    assert not network.at_once
    theirs = with_gradient(scan_episode, make(**settings)[0], params)
    close(with_gradient(run_episode, network, params), theirs)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "mixer", sampled(["memory", "context", "gate", "layer"], lambda mixer: mixer == "context")
)
def test_in_pieces_and_causal(mixer, x64):
    """A later step changes no earlier answer, and two pieces are one episode."""
    network, params = make(mixer=mixer, segment=2)
    inputs = draw()
    whole, end = answers(network, params, inputs)
    first, state = answers(network, params, inputs[:4])
    second, after = answers(network, params, inputs[4:], state)
    close((jnp.concatenate([first, second]), after), (whole, end))
    changed, _ = answers(network, params, inputs.at[4].add(1.0))
    close(changed[:4], whole[:4])
    assert (jnp.abs(changed[4:] - whole[4:]) > 1e-6).all()


@pytest.mark.thorough
@pytest.mark.parametrize("mixer", sampled(["memory", "context"], lambda m: m == "context"))
def test_queries_do_not_see_each_other(mixer, x64):
    network, params = make(mixer=mixer, segment=2)
    together, _ = answers(network, params, draw(), queries=draw(3, 5))
    alone, _ = answers(network, params, draw(), queries=draw(3, 5)[1:2])
    close(together[STEPS + 1], alone[STEPS])


@pytest.mark.slow
def test_a_network_of_a_rule_that_writes_twice_per_token(x64):
    """In pieces, and asked from outside."""
    network, params = make("delta_product")
    inputs, queries = draw(), draw(2, 5)
    whole, end = answers(network, params, inputs, queries=queries)
    first, state = answers(network, params, inputs[:4])
    rest, after = answers(network, params, inputs[4:], state, queries)
    close((jnp.concatenate([first, rest]), after), (whole, end))
    longer, _ = answers(network, params, jnp.concatenate([inputs, queries[:1]]))
    assert jnp.abs(longer[-1] - whole[STEPS]).max() > 1e-6  # which reads after its own write


@pytest.mark.parametrize(
    "rule", ["gated_delta", pytest.param(DEEP, id="deep", marks=pytest.mark.slow)]
)
def test_memories_that_are_not_written_stay_as_an_episode_starts(rule, x64):
    network, params = make(rule)
    still = network._replace(site_writes=False)
    _, state = answers(still, params, draw())
    _, start = answers(still, params, draw()[:1])
    close(state.fast, start.fast)
    _, written = answers(network, params, draw())
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), written.fast, start.fast)
    assert all(layer.weight > 0 for site in moved.values() for layer in site.values())


LAYERS = [name for name, rule in RULES.items() if rule().site is not None and not rule().static]


@pytest.mark.parametrize("rule", sampled(LAYERS, lambda rule: rule == "titans", "thorough"))
def test_every_rule_is_a_layer(rule):
    """With the default settings: answers and gradients are finite, and every parameter has one."""
    drawn = np.random.default_rng(0)
    layer = MemoryLayer(rule, dataclasses.replace(SMALL, **(SOFTMAX if rule == "srwm" else {})))
    x = jax.random.normal(jax.random.key(0), (STEPS, WIDTH))
    shapes = jax.eval_shape(layer.init, jax.random.key(1), x)
    params = jax.tree.map(lambda a: drawn.normal(0, 0.3, a.shape).astype(a.dtype), shapes)
    loss = jax.jit(jax.value_and_grad(lambda p: (layer.apply(p, x)[0] ** 2).sum()))
    value, grads = loss(params)
    assert np.isfinite(value)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all(), jax.tree_util.keystr(path)
        assert np.abs(grad).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    "rule", [pytest.param("gated_delta", marks=pytest.mark.slow), "ttt_linear"]
)
def test_a_layer_of_packed_and_of_unequal_sequences(rule, x64):
    layer = MemoryLayer(rule, dataclasses.replace(SMALL, convolution=3))
    x = jax.random.normal(jax.random.key(0), (STEPS, WIDTH))
    params = jax.jit(layer.init)(jax.random.key(1), x)
    run = jax.jit(layer.apply)
    first, state = run(params, x[:2])
    second, end = run(params, x[2:])
    packed, after = run(params, x, reset=jnp.arange(STEPS) == 2)
    if rule == "gated_delta":  # a frozen rule's stretches do not begin with documents
        close((packed, after), (jnp.concatenate([first, second]), end))
    filled, short = run(params, x, valid=jnp.arange(STEPS) < 2)
    close((filled[:2], short), (first, state))
    with pytest.raises(ValueError, match="rule='hebbian'"):
        MemoryLayer("hebbian").init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="first argument, here 'delta'"):
        MemoryLayer("delta", MemoryLayerSettings(rule="mesa")).init(jax.random.key(0), x)


@pytest.mark.thorough
@pytest.mark.parametrize("piece", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_what_a_layer_carries_over_is_of_the_present_document(piece, x64):
    """Where a piece ends soon after a document has begun, the convolution has seen two of them."""
    layer = MemoryLayer("gated_delta", dataclasses.replace(SMALL, convolution=4))
    x = jax.random.normal(jax.random.key(0), (STEPS, WIDTH))
    reset, params = jnp.arange(STEPS) == 2, layer.init(jax.random.key(1), x)
    run = jax.jit(layer.apply)
    whole, end = run(params, x, reset=reset)
    parts, state = [], None
    for at in range(0, STEPS, piece):
        own = slice(at, at + piece)
        part, state = run(params, x[own], state, reset=reset[own])
        parts.append(part)
    close((jnp.concatenate(parts), state), (whole, end))
    # After the end of a shorter sequence no document begins.
    _, shorter = run(params, x[:2])
    _, filled = run(params, x, reset=reset, valid=jnp.arange(STEPS) < 2)
    close(filled, shorter)


@pytest.mark.thorough
def test_a_layer_goes_on_where_it_stopped(x64):
    layer = MemoryLayer("gated_delta", dataclasses.replace(SMALL, convolution=4))
    x = jax.random.normal(jax.random.key(0), (STEPS, WIDTH))
    params = jax.jit(layer.init)(jax.random.key(1), x)
    run = jax.jit(layer.apply)
    whole, end = run(params, x)
    first, state = run(params, x[:1])
    rest, after = run(params, x[1:], state)
    close((jnp.concatenate([first, rest]), after), (whole, end))


def test_the_convolution_by_its_sum(x64):
    module, x = ShortConvolution(3), draw()
    position = jnp.arange(STEPS)
    params = module.init(jax.random.key(0), x, [], position, False)
    kernel = params["params"]["kernel"]
    padded = jnp.concatenate([jnp.zeros((2, 3)), x])
    expected = sum(kernel[j] * padded[2 - j : len(padded) - j] for j in range(3))
    close(module.apply(params, x, [], position, False), expected)
    # One step, whose past stands in any order.
    order = jnp.array([3, 1, 4, 2])
    past = [Inputs(x[order], order)]
    one = module.apply(params, x[5:], past, position[5:], False)
    close(one, expected[5:])


@pytest.mark.slow
def test_values_of_unit_length_bound_the_gated_oja_rule(x64):
    """It removes along the value: where rate |value|^2 passes 2, what is left grows."""

    def largest(norm):
        network, params = make("oja_gated", value_feature="none", value_norm=norm)
        large = jax.tree.map(lambda a: 10 * a, params)
        memories = answers(network, large, draw(200))[1].fast
        return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(memories))

    assert largest("unit") < 10
    assert not largest("none") < 1e10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixer": "gate", "window": -1}, "model.attention_window=-1 must be at least 0"),
        ({"plastic": "attention"}, "attention must not be plastic beside a memory"),
        ({"rule": "delta_product", "plastic": "head"}, "2 writes at a time"),
        ({"mixer": "context", "segment": 4, "plastic": "head"}, "takes 4 tokens"),
        ({"mixer": "attention"}, "model.mixer='attention' has no memory"),
        ({"key_norm": "l2"}, "site.key_norm='l2'"),
    ],
)
def test_wrong_layers(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)
