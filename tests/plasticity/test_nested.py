"""Learning at several speeds: rules against loops, networks in pieces, slow weights by periods."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from plasticity.associate import associate
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.model import EncoderSettings, MemoryLayerSettings, MemorySpec
from plasticity.model.transformer import TransformerSettings, transformer
from plasticity.network import Network, init_parameters
from plasticity.outer.delta_step import delta_step, input_moments
from plasticity.outer.optimizer import Optimizer, chained
from plasticity.outer.periods import parsed
from plasticity.pieces import initial_state
from plasticity.rules import dgd, level, none, self_modifying
from plasticity.task import TaskShape
from plasticity.types import Token
from plasticity.unroll import run_episode
from tests.oracles import level_oracle, self_modifying_oracle
from tests.sample import sampled
from tests.sites import close, draw, slopes, token_of

STEPS, INPUTS, OUTPUTS = 5, 3, 2
RNG = np.random.default_rng(0)


def traces(weights):
    return {name: TraceMatrix(w, jnp.zeros(len(w))) for name, w in weights.items()}


def ours(rule, tokens, weights, **how):
    answers, after = associate(rule, Token(**tokens), traces(weights), **how)
    return answers, {name: trace.weight for name, trace in after.items()}


def equal(run, oracle, tokens, weights):
    """Values and gradients."""
    found, expected = (jax.jit(slopes(f))(tokens, weights) for f in (run, oracle))
    close(*jax.tree.map(lambda a: a[None], (found, expected)))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("frozen", "chunk"), sampled([(1, 0), (3, 2)], lambda case: case == (3, 2))
)
def test_a_self_modifying_memory_is_its_loop(frozen, chunk, x64):
    rows = {"key": INPUTS, "value": INPUTS, "rate": 1, "keep": 1, "memory": OUTPUTS}
    weights = {name: jnp.asarray(RNG.normal(size=(n, INPUTS))) for name, n in rows.items()}
    tokens = {n: jnp.asarray(RNG.normal(size=(STEPS, INPUTS))) for n in ("query", "key")}
    rule = self_modifying(frozen=frozen, limit=1.5)

    def run(tokens, weights):
        blank = {"value": jnp.zeros((STEPS, OUTPUTS))}
        return ours(rule, tokens | blank, weights, chunk=chunk)

    def oracle(tokens, weights):
        return self_modifying_oracle(tokens["key"], tokens["query"], weights, frozen, 1.5)

    equal(run, oracle, tokens, weights)
    if frozen == 1:  # all memories are multiplied by the same matrices
        _, after = run(tokens, weights)
        shared = np.linalg.solve(weights["key"], after["key"])
        for name, first in weights.items():
            np.testing.assert_allclose(after[name], first @ shared, atol=1e-10)


@pytest.mark.parametrize("period", sampled([1, 3], lambda period: period == 3, "thorough"))
def test_a_level_is_its_loop(period, x64):
    tokens, _ = draw("level", {}, 0, steps=STEPS)
    shapes = {"W1": (4, INPUTS), "W2": (OUTPUTS, 4)}
    weights = {name: jnp.asarray(RNG.normal(size=shape)) for name, shape in shapes.items()}
    run = functools.partial(ours, level(frozen=period, hidden=4))
    equal(run, lambda t, w: level_oracle(t, w, period), jax.tree.map(jnp.asarray, tokens), weights)


@pytest.mark.parametrize("name", ["level", "self_modifying"])
def test_starts_and_gaps_within_a_stretch(name, x64):
    tokens, state = draw(name, {"frozen": 3}, 1)
    rule = {"level": level, "self_modifying": self_modifying}[name](frozen=3)
    marks = {"reset": jnp.arange(8) == 4, "valid": jnp.arange(8) != 2}
    initial = jax.tree.map(lambda a: 0.5 * a, state)
    run = functools.partial(associate, rule, token_of(tokens), state, initial=initial, **marks)
    found, expected = (jax.jit(functools.partial(run, chunk=chunk))() for chunk in (3, 0))
    close(*jax.tree.map(lambda a: a[None], (found, expected)))


def test_delta_gradient_descent_solves_its_problem(x64):
    """One example as a memory, several as a step of a layer: the objective has no slope there."""
    weight, xs, gs = (RNG.normal(size=s) for s in ((INPUTS, OUTPUTS), (4, INPUTS), (4, OUTPUTS)))

    def objective(after, xs, gs):
        return ((xs @ after + gs) ** 2).sum() / 2 + ((after - weight) ** 2).sum() / (2 * 0.7)

    after = delta_step([weight, gs], [xs.T @ gs, gs], [xs.T @ xs, None], 0.7)
    assert np.abs(jax.grad(objective)(after[0], xs, gs)).max() < 1e-12
    np.testing.assert_allclose(after[1], 0.3 * gs)
    key, value = xs[0], RNG.normal(size=OUTPUTS)
    for loss, slope in {"squares": key @ weight - value, "product": -value}.items():
        token = jax.tree.map(
            lambda a: a[None], Token(key, key, value, jnp.array(0.7), jnp.ones(()))
        )
        state = TraceMatrix(jnp.asarray(weight.T), jnp.zeros(OUTPUTS))
        _, memory = associate(dgd(loss=loss), token, state)
        found = memory.weight.T
        assert np.abs(jax.grad(objective)(found, key[None], slope[None])).max() < 1e-12


def test_moments_are_those_of_the_inputs_of_every_call():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(INPUTS, name="layer")
            return nn.LayerNorm()(layer(layer(x)))

    x = jax.random.normal(jax.random.key(0), (2, 4, INPUTS))
    module = Twice()
    params = module.init(jax.random.key(1), x)
    moments = input_moments(module, params, x)["params"]
    once = x @ params["params"]["layer"]["kernel"]
    expected = sum(np.einsum("abi,abj->ij", a, a) for a in (x, once))
    np.testing.assert_allclose(moments["layer"]["kernel"], expected, rtol=1e-5)
    assert moments["layer"]["bias"] is None
    assert moments["LayerNorm_0"]["scale"] is None


def make(rule="self_modifying", levels="2,3", mixer="memory", **changes):
    """A network with levels and its parameters."""
    rules = {"self_modifying": self_modifying(frozen=2), "none": none()}
    width, memory = 8, None
    if mixer == "memory":
        site = MemoryLayerSettings(heads=2, chunk=4, convolution=0)
        memory = MemorySpec(rules[rule], site, width)
    sizes = {"layers": 1, "heads": 2, "width": width, "feed_forward": 8, "auxiliary": 0}
    kind = {"mixer": mixer, "levels": levels, "plastic": "none", "dropout": 0.0}
    settings = TransformerSettings(**(sizes | kind | changes))
    backbone = transformer(settings, EncoderSettings(), TaskShape(INPUTS, 2, 12), memory)
    network = Network(backbone, none(), dense())
    if memory is not None:
        network = network._replace(site_rule=memory.rule, site_memory=dense(form=memory.rule.form))
    params = init_parameters(network, jax.random.key(0))
    return network, jax.tree.map(lambda a: a.astype(float), params)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rule", "mixer"),
    sampled(
        [("self_modifying", "memory"), ("none", "attention")], lambda case: case[1] == "memory"
    ),
)
def test_hope_in_pieces_and_causal(rule, mixer, x64):
    """Pieces of whole periods; a later step changes no earlier answer; off is the net as it was."""
    network, params = make(rule, mixer=mixer)
    inputs = jax.random.normal(jax.random.key(1), (12, INPUTS), float)

    @functools.partial(jax.jit, static_argnames="on")
    def run(inputs, state, on=True):
        own = network._replace(site_writes=on)
        trace = run_episode(own, params, inputs, state=state)
        return trace.outputs.task, trace.state

    start = initial_state(network, params)
    whole, end = run(inputs, start)
    first, state = run(inputs[:6], start)
    rest, after = run(inputs[6:], state)
    found, expected = (jnp.concatenate([first, rest]), after.fast), (whole, end.fast)
    close(*jax.tree.map(lambda a: a[None], (found, expected)))
    moved = np.abs(run(inputs.at[4].add(1.0), start)[0] - whole).max(1) > 1e-6
    assert not moved[:4].any()
    assert moved[4]
    assert moved[6:].all()  # step 5 is of the same stretch
    unwritten = np.abs(run(inputs, start, on=False)[0] - whole).max(1) < 1e-12
    assert unwritten[:2].all()  # the first period reads what nothing has written
    assert not unwritten[2:].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": "4,0"}, r"model.levels='4,0' must be periods"),
        ({"levels": "fast"}, r"model.levels='fast' must be periods"),
        ({"plastic": "head"}, r"model.plastic='head' must be 'none' beside model.levels='2,3'"),
    ],
)
def test_wrong_levels(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


PERIODS = (("slow", 3),)


def test_parts_of_the_slow_weights_change_once_per_period():
    """By the mean gradient, with the rate of that step, decay included; two seeds at once."""
    params = {"fast": jnp.ones(2), "slow": {"w": jnp.full(2, 2.0)}}
    every = Optimizer(optax.trace(0.9), periods=PERIODS)

    def rate(count):
        return 0.1 * (1 + count)

    step = chained(every, rate, 0.01, 1e9, lambda p: jax.tree.map(lambda _: True, p))
    grads = RNG.normal(size=(6, 2, 2))

    def train(params, scale):
        state = step.init(params)
        for g in grads:
            grad = {"fast": scale * g[0], "slow": {"w": scale * g[1]}}
            updates, state = step.update(grad, state, params)
            params = optax.apply_updates(params, updates)
        return params

    found = jax.jit(jax.vmap(train, (None, 0)))(params, jnp.array([1.0, 2.0]))
    for seed, scale in enumerate((1.0, 2.0)):
        for part, period in {"fast": 1, "slow": 3}.items():
            w, m = np.full(2, 1.0 if part == "fast" else 2.0), np.zeros(2)
            mine = scale * grads[:, period // 3]
            for t in range(period - 1, 6, period):
                m = 0.9 * m + mine[t - period + 1 : t + 1].mean(0)
                w = w - rate(t) * (m + 0.01 * w)
            shown = found["fast"] if part == "fast" else found["slow"]["w"]
            np.testing.assert_allclose(shown[seed], w, rtol=1e-5)


def test_wrong_periods():
    assert parsed("a:4,b:16") == (("a", 4), ("b", 16))
    for wrong in ("a", "a:0", "a:4,a:8", ":4"):
        with pytest.raises(ValueError, match=f"optimizer.periods='{wrong}' must be"):
            parsed(wrong)
    step = chained(
        Optimizer(optax.identity(), periods=(("fc9", 2),)), lambda _: 1.0, 0.0, 1.0, lambda p: p
    )
    with pytest.raises(ValueError, match="'fc9' is no part of this network, whose parts are fc1"):
        step.init({"fc1": jnp.ones(2)})
