"""Steps before which a memory starts anew, and steps that do not count, on every path.

Tokens and states are those of the recorded runs, so that each rule has valid ones.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.associate import associate
from plasticity.experiments.traces.memories import MEMORIES
from plasticity.rules import RULES
from plasticity.types import Token
from tests.sample import sampled

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 12
# A form of each path: query, transposed and free reads, several terms and writes, momentum, keeps
# per input, and stretches with a bias, a reach, momentum, a map of the weights.
PATHS = [
    *("gated_delta", "hebb_channel_decay", "oja_gated", "mesa", "rwkv7", "gated_delta_product"),
    *("titans_linear_online", "ttt_linear", "titans_mlp_frozen", "moneta_mlp_frozen", "srwm"),
]
QUICK = ("gated_delta", "titans_mlp_frozen")
FROZEN = ["ttt_linear", "titans_mlp_frozen", "moneta_mlp_frozen"]
ONLINE = ["gated_delta", "mesa", "gated_delta_product", "titans_linear_online", "srwm"]


def recorded(name):
    """Rule, tokens [T, ...], a state, and another one as the memory that starts anew."""
    with np.load(GOLDEN / f"assoc_{name}.npz") as file:
        arrays = dict(file)

    def part(prefix, head):
        found = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
        return {n: jnp.asarray(a[head]) for n, a in found.items()}

    settings = {n.removeprefix("setting/"): a for n, a in arrays.items() if n.startswith("setting")}
    memory, first, second = MEMORIES[name], part("initial/", 0), part("initial/", 1)
    rule = RULES[memory.rule](**memory.settings(settings, first))
    tokens = memory.token(part("input/", 0), settings)._asdict()
    given = {n: a for n, a in tokens.items() if not isinstance(a, float)}  # else the default
    return rule, rows(given, slice(STEPS)), memory.state(first), memory.state(second)


def rows(tokens, these):
    return jax.tree.map(lambda a: a[these], tokens)


@functools.partial(jax.jit, static_argnames=("rule", "chunk"))
def run(rule, tokens, state, chunk=5, **marks):
    return associate(rule, Token(**tokens), state, chunk=chunk, **marks)


@functools.partial(jax.jit, static_argnames=("rule", "chunk"))
def with_gradient(rule, tokens, state, initial, reset, valid, chunk):
    """Answers that count, the state, and the gradient of a scalar of both."""

    def loss(tokens, state, initial):
        mark = {"initial": initial, "reset": reset, "valid": valid}
        answers, after = run(rule, tokens, state, chunk, **mark)
        answers = jnp.where(valid[:, None], answers, 0)
        sums = [(jnp.cos(jnp.arange(a.size)) * a.ravel()).sum() for a in jax.tree.leaves(after)]
        weights = jnp.cos(jnp.arange(answers.size)).reshape(answers.shape)
        return (weights * answers).sum() + sum(sums), (answers, after)

    grad = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)
    return grad(tokens, state, initial)


def marks(seed):
    draw = np.random.default_rng(seed)
    reset = jnp.asarray(draw.random(STEPS) < 0.3).at[3].set(True)
    return reset, jnp.asarray(draw.random(STEPS) < 0.7).at[jnp.array([2, -1])].set(False)


def close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), ours, theirs)


@pytest.mark.thorough
@pytest.mark.parametrize("name", sampled(PATHS, lambda name: name in QUICK))
def test_chunks_are_steps(name, x64):
    rule, tokens, state, initial = recorded(name)
    given = (rule, tokens, state, initial, *marks(0))
    close(with_gradient(*given, chunk=5), with_gradient(*given, chunk=0))


@pytest.mark.parametrize("name", sampled(ONLINE, lambda name: name in QUICK))
def test_documents_in_one_sequence_are_documents_apart(name, x64):
    rule, tokens, state, initial = recorded(name)
    half = STEPS // 2
    reset = jnp.arange(STEPS) == half
    packed, after = run(rule, tokens, state, initial=initial, reset=reset)
    first, _ = run(rule, rows(tokens, slice(half)), state)
    second, last = run(rule, rows(tokens, slice(half, None)), initial)
    close((packed, after), (jnp.concatenate([first, second]), last))


@pytest.mark.parametrize("name", sampled(ONLINE, lambda name: name in QUICK))
def test_steps_that_do_not_count_could_be_left_out(name, x64):
    rule, tokens, state, _ = recorded(name)
    _, valid = marks(1)
    answers, after = run(rule, tokens, state, valid=valid)
    close((answers[valid], after), run(rule, rows(tokens, valid), state))


@pytest.mark.parametrize("name", FROZEN)
def test_a_batch_of_unequal_lengths(name, x64):
    """What fills up a shorter episode changes nothing, in the middle of a stretch either."""
    rule, tokens, state, _ = recorded(name)
    length = 7
    answers, after = run(rule, tokens, state, valid=jnp.arange(STEPS) < length)
    close((answers[:length], after), run(rule, rows(tokens, slice(length)), state))


def test_an_empty_memory_starts_anew(x64):
    rule, tokens, *_ = recorded("gated_delta")
    answers, after = run(rule, tokens, None, reset=jnp.arange(STEPS) == 6)
    close((answers[6:], after), run(rule, rows(tokens, slice(6, None)), None))


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ({"reset": jnp.zeros(3, bool)}, r"reset has shape \(3,\) and dtype bool, it should be"),
        ({"valid": jnp.zeros(STEPS)}, r"valid has shape \(12,\) and dtype float"),
    ],
)
def test_wrong_marks(mark, message):
    rule, key = RULES["delta"](), jnp.ones((STEPS, 3))
    with pytest.raises(ValueError, match=message):
        associate(rule, Token(key, key, key), **mark)


def test_a_memory_that_does_not_start_empty_says_so():
    rule, tokens, state, _ = recorded("srwm")
    with pytest.raises(ValueError, match="does not start empty"):
        run(rule, tokens, state, reset=jnp.zeros(STEPS, bool))
