"""An episode in pieces, its state carried, equals one pass, in values and gradients."""

import functools
import itertools

import jax
import jax.numpy as jnp
import pytest

from plasticity.pieces import initial_state
from plasticity.unroll import run_episodes
from tests.networks import INPUTS, make_network, make_params
from tests.plasticity.test_episode import assert_trees_close

BACKBONES = {
    "closed": ("transformer", {"layers": 1, "attention_window": -1, "position": "rotary"}),
    "window": ("transformer", {"layers": 2, "attention_window": 2, "position": "learned"}),
    "full": ("transformer", {"layers": 2, "attention_window": 0, "position": "rotary"}),
    "ahead": ("transformer", {"layers": 1, "attention_window": 1, "position": "learned"}),
    "plastic": ("transformer", {"layers": 1, "attention_window": 2, "plastic": "attention"}),
    "rnn": ("rnn", {}),
    "lstm": ("lstm", {}),
}
ONLINE, UNEVEN = (1, 1, 1), (1, 1, 3, 2)  # steps of each piece; chunks have 2
QUICK = [
    ("none", "dense", "window", (1, 2, 5)),  # the last piece is cut in bands
    ("none", "dense", "full", (1, 2)),
    ("none", "dense", "lstm", UNEVEN),
    ("hebbian", "dense", "window", (1, 3)),
    ("gradient", "dense", "rnn", UNEVEN),
    ("hebbian", "factored", "closed", (1, 2)),
    ("hebbian", "factored", "ahead", (1, 1)),
    ("gradient", "chunked", "plastic", ONLINE),
    ("hebbian", "chunked", "ahead", (1, 2)),
    ("hebbian", "chunked", "rnn", ONLINE),
]
PRODUCT = itertools.product(
    ("none", "hebbian", "gradient"), ("dense", "factored", "chunked"), BACKBONES, [UNEVEN]
)
# Without writes, engines do not matter.
THOROUGH = [case for case in PRODUCT if (case[0] != "none" or case[1] == "dense")]


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

    def loss(params):
        outputs, start, carried = [], 0, state
        for steps in pieces:
            stop = start + steps
            asked = queries if stop == inputs.shape[1] else None
            trace = run(params, inputs[:, start:stop], None, asked, carried)
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

    return jax.value_and_grad(loss, has_aux=True)(params)


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
