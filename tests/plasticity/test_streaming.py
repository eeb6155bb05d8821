"""An episode in pieces, its state carried, equals one pass, in values and gradients."""

import functools
import itertools

import jax
import jax.numpy as jnp
import pytest
from jax import export

from plasticity.pieces import initial_state
from plasticity.unroll import run_episode, run_episodes
from tests.networks import INPUTS, make_network, make_params
from tests.plasticity.test_episode import assert_trees_close
from tests.sample import sampled

BACKBONES = {
    "closed": (
        "transformer",
        {"layers": 1, "attention_window": -1, "plastic": "attention", "dropout": 0.3},
    ),
    "window": ("transformer", {"layers": 2, "attention_window": 2, "position": "learned"}),
    "full": ("transformer", {"layers": 2, "attention_window": 0, "position": "rotary"}),
    "ahead": ("transformer", {"layers": 1, "attention_window": 1, "position": "learned"}),
    "open": ("transformer", {"layers": 1, "attention_window": 0, "plastic": "attention"}),
    "plastic": ("transformer", {"layers": 1, "attention_window": 2, "plastic": "attention"}),
    "rnn": ("rnn", {}),
    "lstm": ("lstm", {}),
}
UNEVEN = (1, 1, 3, 2)  # steps of each piece; chunks have 2
# Recurrent networks by default: test_own.py.
QUICK = [
    ("hebbian", "chunked", "ahead", (1, 2)),
]
PRODUCT = itertools.product(
    ("none", "hebbian", "gradient", "delta"), ("dense", "factored", "chunked"), BACKBONES, [UNEVEN]
)
# Without writes, engines do not matter.
THOROUGH = [("none", "dense", "window", (1, 2, 5))]  # the last piece is cut in bands
THOROUGH += [case for case in PRODUCT if (case[0] != "none" or case[1] == "dense")]


def draw(steps, episodes=2):
    """Inputs [B, T, I]."""
    shape = (episodes, steps, INPUTS)
    return jax.random.normal(jax.random.key(4), shape, jnp.result_type(float))


def network_of(rule, engine, backbone, steps):
    name, model = BACKBONES[backbone]
    return make_network(rule, engine=engine, chunk=2, steps=steps, backbone=name, model=model)


def answers(network, params, inputs, pieces, queries, state=None):
    """Outputs [B, T + Q, ...], fast weights at the end, and gradients of both."""
    run = jax.jit(functools.partial(run_episodes, network))
    weights = network.memory.weights
    # Dropout masks of a step are those of its position, but for attention and a static rule.
    keys = None if network.rule.static else jax.random.split(jax.random.key(9), len(inputs))

    def loss(params):
        outputs, start, carried = [], 0, state
        for steps in pieces:
            stop = start + steps
            asked = queries if stop == inputs.shape[1] else None
            trace = run(params, inputs[:, start:stop], keys, asked, carried)
            carried, start = trace.state, stop
            outputs.append(trace.outputs)
        outputs = jax.tree.map(lambda *parts: jnp.concatenate(parts, 1), *outputs)
        synapses = params.plasticity.synapses
        fast = {
            name: jax.vmap(lambda b, s=synapses[name]: weights(b, s))(base)
            for name, base in carried.fast.items()
        }
        total = sum((a**2).sum() for a in jax.tree.leaves((outputs.task, fast)))
        return total, (outputs, fast, carried.position)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


@pytest.mark.parametrize(
    ("rule", "engine", "backbone", "pieces"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in THOROUGH)],
)
def test_pieces_equal_one_pass(rule, engine, backbone, pieces, x64):
    """Pieces of one step, shorter and longer than window and chunk; queries after the last."""
    steps = sum(pieces)
    network = network_of(rule, engine, backbone, steps)
    params, both = make_params(network), draw(steps + 2)
    inputs, queries = both[:, :steps], both[:, steps:]
    once = answers(network, params, inputs, (steps,), queries)
    cut = answers(network, params, inputs, pieces, queries, initial_state(network, params, 2))
    assert_trees_close(cut, once, 1e-10)


@pytest.mark.parametrize("rule", sampled(["none", "hebbian"], lambda rule: rule == "hebbian"))
def test_queries_change_no_state(rule):
    """Those of an episode that begins without a state, and of one without the axis B."""
    network = network_of(rule, "dense", "window", 3)
    params, (inputs, queries) = make_params(network), draw(3)
    run = jax.jit(functools.partial(run_episode, network))
    asked, unasked = (run(params, inputs[:1], None, q) for q in (queries, None))
    assert_trees_close(asked.state, unasked.state, 0)
    rest = run(params, inputs[1:], None, None, asked.state)
    whole = run(params, inputs)
    assert_trees_close(rest.state.position, whole.state.position, 0)
    assert_trees_close(rest.outputs.task, whole.outputs.task[1:], 1e-5)


def one_step(network):
    """(params, state, inputs of one step [B, I]) -> (answers [B, O], state), and its traces."""
    traces = []

    @jax.jit
    def step(params, state, x):
        traces.append(x)
        trace = run_episodes(network, params, x[:, None], state=state)
        return trace.outputs.task[:, 0], trace.state

    return step, traces


@pytest.mark.parametrize(
    "engine", sampled(["dense", "chunked"], lambda e: e == "chunked", "thorough")
)
def test_inference_step_by_step_is_one_program(engine):
    """With a window the state keeps its size."""
    network = network_of("hebbian", engine, "ahead", 4)
    params, inputs = make_params(network), draw(4)
    step, traces = one_step(network)
    state, answers = initial_state(network, params, 2), []
    for x in jnp.swapaxes(inputs, 0, 1):
        answer, state = step(params, state, x)
        answers.append(answer)
    assert len(traces) == 1
    whole = jax.jit(functools.partial(run_episodes, network))(params, inputs).outputs.task
    assert_trees_close(jnp.stack(answers, 1), whole, 1e-5)


@pytest.mark.parametrize("backbone", sampled(["ahead", "rnn"], lambda b: b == "ahead", "thorough"))
def test_a_step_of_inference_can_be_exported(backbone):
    pytest.importorskip("flatbuffers", reason="jax.export stores programs with flatbuffers")
    network = network_of("gradient", "chunked", backbone, 2)
    params, inputs = make_params(network), draw(1)
    step, _ = one_step(network)
    arguments = (params, initial_state(network, params, 2), inputs[:, 0])
    exported = export.export(step, platforms=("tpu", "cuda", "cpu"))(*arguments)
    stored = exported.serialize()
    assert_trees_close(export.deserialize(stored).call(*arguments), step(*arguments), 1e-6)


def test_a_step_beyond_the_learned_positions_is_an_error():
    """Position 2 exists in a task of two steps, for queries; position 3 does not.

    Where the position is traced, no error can be raised: the piece is NaN.
    """
    network = network_of("none", "dense", "ahead", 2)
    params, (inputs, _) = make_params(network), draw(2)
    run = functools.partial(run_episode, network, params, inputs)

    def state(position):
        return initial_state(network, params)._replace(position=jnp.int32(position))

    with pytest.raises(ValueError, match=r"position 3 should be at most 2.*model.position='learn"):
        run(state=state(2))
    answers = [jax.jit(lambda s: run(state=s).outputs.task)(state(p)) for p in (1, 2)]
    assert [bool(jnp.isnan(a).any()) for a in answers] == [False, True]


def test_a_state_of_another_network_is_an_error():
    static, plastic = (network_of(rule, "dense", "rnn", 2) for rule in ("none", "hebbian"))
    params, (inputs, _) = make_params(plastic), draw(2)
    for network, other in ((static, plastic), (plastic, static)):
        with pytest.raises(ValueError, match=r"state.fast has the layers .* it should have"):
            run_episode(network, params, inputs, state=initial_state(other, params))
