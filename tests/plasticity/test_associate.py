"""Chunks of a memory site are its steps, for every rule that is linear in the state.

Recorded runs of the rules of the library are replayed by `test_check_numerics.py`; what they obey
is in `test_rule_laws.py` and `test_rule_relations.py`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plasticity.associate import associate, initial_state
from plasticity.memory import ENGINES
from plasticity.memory.dense import TraceMatrix
from plasticity.rules import RULES
from plasticity.site_steps import associate_step
from plasticity.types import Form, LayerShape, Rule, Site, Token, Write

STEPS, INPUTS, OUTPUTS = 7, 3, 2
SIZES = {"scalar": (), "output": (OUTPUTS,), "input": (INPUTS,)}
DELTA, HEBB = RULES["gated_delta"](), RULES["hebb"]()
PER_INPUT = RULES["kda"]()
NO_RULE = Rule(None, None)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), float)


def draw_tokens(keep="scalar", steps=STEPS, gates=None):
    """Keys of unit length, and keeps of which some are 0 and some negative."""
    query, key = (normal(seed, steps, INPUTS) for seed in (1, 2))
    rate = normal(4, steps, *(SIZES[keep] if keep == "output" else ()))
    kept = normal(5, steps, *SIZES[keep]).at[2].set(0.0).at[steps // 2].set(0.0)
    key /= jnp.linalg.norm(key, axis=-1, keepdims=True)
    return Token(query, key, normal(3, steps, OUTPUTS), rate, kept, gates or {})


def draw_state(momentum=False):
    sums = normal(7, OUTPUTS, INPUTS), jnp.zeros(OUTPUTS)
    return TraceMatrix(normal(6, OUTPUTS, INPUTS), jnp.zeros(OUTPUTS), sums if momentum else None)


def close(ours, theirs, tolerance=1e-10):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), ours, theirs
    )


@functools.partial(jax.jit, static_argnames=("rule", "chunk"))
def answers_and_gradient(rule, tokens, state, chunk=0):
    """Answers and state, and the gradient of a scalar of both."""

    def loss(tokens, state):
        results = associate(rule, tokens, state, chunk=chunk)
        weighted = jax.tree.map(lambda a: (jnp.cos(jnp.arange(a.size)) * a.ravel()).sum(), results)
        return sum(jax.tree.leaves(weighted)), results

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(tokens, state)


def linear_site(form, reads, order):
    """A site whose gates hold u [N, O], f [M, N], a [M, I] and right [N, I]."""

    def write(token, read):
        gate = token.gates
        left = gate["u"] + sum(gate["f"][m][:, None] * read(gate["a"][m]) for m in range(reads))
        right, momentum = gate["right"], gate["momentum"] if form.momentum else None
        if form.terms == 1:
            left, right = left[0], right[0]
        return Write(left, right, token.rate, token.keep, momentum)

    return NO_RULE._replace(form=form, site=Site(write, order))


def linear_gates(form, reads):
    shapes = [(form.terms, OUTPUTS), (reads, form.terms), (reads, INPUTS), (form.terms, INPUTS)]
    names = ["u", "f", "a", "right", "momentum"]
    return {
        name: normal(seed, STEPS, *shape)
        for seed, (name, shape) in enumerate(zip(names, [*shapes, ()], strict=True), 10)
    }


@pytest.mark.thorough
@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(
    form=st.builds(
        Form,
        st.sampled_from(["scalar", "input", "output"]),
        st.integers(1, 2),
        st.booleans(),
        **dict.fromkeys(("settle", "to_weights"), st.none()),
        bias=st.just(False),
    ),
    reads=st.integers(0, 2),
    order=st.sampled_from(["read_after_write", "read_before_write"]),
    chunk=st.integers(1, STEPS + 2),
)
def test_chunks_are_steps(form, reads, order, chunk):
    with jax.enable_x64(True):
        rule = linear_site(form, reads, order)
        tokens = draw_tokens(form.keep, gates=linear_gates(form, reads))
        state = draw_state(form.momentum)
        by_steps = answers_and_gradient(rule, tokens, state)
        close(answers_and_gradient(rule, tokens, state, chunk=chunk), by_steps)


@pytest.mark.parametrize("engine", [e for e in ENGINES if e != "dense"])
def test_steps_are_those_of_any_engine(engine, x64):
    form = Form("scalar", 2, True)
    rule = linear_site(form, 2, "read_before_write")
    tokens, memory = draw_tokens(gates=linear_gates(form, 2)), ENGINES[engine](4, form)
    shape = LayerShape(OUTPUTS, INPUTS)
    fast = memory.open(memory.init(shape, jnp.float64), shape, STEPS)

    def body(fast, scanned):
        answer, fast = associate_step(rule, memory, fast, *scanned)
        return fast, answer

    _, answers = jax.jit(lambda f, t: jax.lax.scan(body, f, (t, jnp.arange(STEPS))))(fast, tokens)
    close(answers, jax.jit(functools.partial(associate, rule, chunk=STEPS))(tokens)[0])


def test_a_number_counts_for_all_steps(x64):
    tokens = draw_tokens()
    once = jax.jit(functools.partial(associate, chunk=3), static_argnums=0)
    ungated = tokens._replace(keep=1.0, rate=0.5)
    ones = tokens._replace(keep=jnp.ones(STEPS), rate=jnp.full(STEPS, 0.5))
    for rule in (DELTA, HEBB):
        close(once(rule, ungated), once(rule, ones))
    _, after = once(HEBB, ungated)
    close(after.weight, 0.5 * tokens.value.T @ tokens.key)


def test_the_delta_rule_overwrites_and_hebb_adds(x64):
    tokens = draw_tokens()
    same = tokens._replace(key=jnp.tile(tokens.key[:1], (STEPS, 1)), rate=1.0, keep=1.0)
    same = same._replace(query=same.key)
    for chunk in (0, 3):
        once = jax.jit(functools.partial(associate, chunk=chunk), static_argnums=0)
        close(once(DELTA, same)[0], same.value)
        close(once(HEBB, same)[0], jnp.cumsum(same.value, 0))


def test_keeps_per_output_of_the_delta_rule_decay_rows(x64):
    """With as many outputs as inputs, a keep on the wrong axis would not be an error."""
    rule = RULES["gated_delta"](keep_per="output")
    key, value, keep = normal(1, 1, 2), normal(2, 1, 2), normal(3, 1, 2)
    state = TraceMatrix(normal(4, 2, 2), jnp.zeros(2))
    _, after = associate(rule, Token(key, key, value, jnp.ones((1, 2)), keep), state)
    kept = keep[0][:, None] * state.weight
    close(after.weight, kept + jnp.outer(value[0] - kept @ key[0], key[0]))


@pytest.mark.thorough
def test_groups_of_chunks_are_chunks(monkeypatch, x64):
    """Accelerators plan several chunks at once."""
    tokens, state = draw_tokens(), draw_state()
    one_by_one = associate(DELTA, tokens, state, chunk=2)
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    close(associate(DELTA, tokens, state, chunk=2), one_by_one)


def test_a_last_stretch_may_be_shorter(x64):
    """Also where the last token says how far its writes reach, and the state keeps that."""
    rule = RULES["ttt_linear"](frozen=3)
    ones = jnp.ones((STEPS, INPUTS))
    gates = {"token_rate": jnp.linspace(0.5, 2, STEPS), "gamma": 2 * ones, "shift": ones / 3}
    tokens = draw_tokens()._replace(value=normal(3, STEPS, INPUTS), keep=1.0, gates=gates)
    state = TraceMatrix(normal(6, INPUTS, INPUTS), normal(7, INPUTS))

    def loss(value, state, chunk):
        answers, after = associate(rule, tokens._replace(value=value), state, chunk=chunk)
        return jnp.sin(answers).sum() + jnp.cos(after.weight).sum() + jnp.cos(after.bias).sum()

    run = jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnums=2)
    close(run(tokens.value, state, 1), run(tokens.value, state, 0))


def test_transformations(x64):
    tokens = draw_tokens(steps=4)
    run = functools.partial(associate, DELTA, chunk=3)
    answers, _ = jax.jit(run)(tokens)
    heads = jax.tree.map(lambda a: jnp.stack([a, 2 * a, a]), tokens)
    episodes = jax.tree.map(lambda a: jnp.stack([a, a]), heads)
    close(jax.jit(jax.vmap(jax.vmap(run)))(episodes)[0][1, 2], answers)

    def loss(run, rate):
        return (run(tokens._replace(rate=rate))[0] ** 2).sum()

    by_steps = jax.jit(jax.hessian(functools.partial(loss, functools.partial(run, chunk=0))))
    close(jax.jit(jax.hessian(functools.partial(loss, run)))(tokens.rate), by_steps(tokens.rate))
    slope, again = (jax.grad(functools.partial(loss, f)) for f in (run, jax.checkpoint(run)))
    close(jax.jit(again)(tokens.rate), jax.jit(slope)(tokens.rate))


@pytest.mark.parametrize("chunk", [0, 3])
def test_in_shard_map(chunk):
    run = jax.vmap(functools.partial(associate, DELTA, chunk=chunk))
    heads = jax.tree.map(lambda a: a[None], draw_tokens())
    spec = jax.P("heads")
    mesh = jax.make_mesh((1,), ("heads",), axis_types=(jax.sharding.AxisType.Auto,))
    shared = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=(spec,), out_specs=spec))
    close(shared(heads), jax.jit(run)(heads), 1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rule", "chunk"),
    [
        pytest.param(PER_INPUT, 2, id="input, chunks"),
        pytest.param(DELTA, 0, id="scalar, steps"),
        pytest.param(DELTA, 2, id="scalar, chunks", marks=pytest.mark.slow),
        pytest.param(PER_INPUT, 0, id="input, steps", marks=pytest.mark.slow),
    ],
)
def test_under_strict_settings(rule, chunk):
    tokens = draw_tokens(rule.form.keep, steps=2)

    def loss(rate):
        return associate(rule, tokens._replace(rate=rate), chunk=chunk)[0].sum()

    expected = jax.jit(jax.value_and_grad(loss))(tokens.rate)
    with jax.numpy_rank_promotion("raise"), jax.debug_nans(True):
        close(jax.jit(jax.value_and_grad(loss))(tokens.rate), expected, 1e-6)
    with jax.disable_jit():
        close(loss(tokens.rate), expected[0], 1e-6)


@pytest.mark.parametrize("chunk", [0, 16])
def test_types(chunk, x64):
    """Half-precision tokens are multiplied in float32: many small changes are not lost."""
    exact = draw_tokens(steps=64)._replace(keep=0.999, rate=0.05)
    half = jax.tree.map(lambda a: jnp.asarray(a).astype(jnp.bfloat16), exact)._replace(
        keep=0.999, rate=0.05
    )
    wide = jax.tree.map(lambda a: jnp.asarray(a, float), half)
    run = jax.jit(functools.partial(associate, DELTA, chunk=chunk))
    answers, after = run(half)
    assert (answers.dtype, after.weight.dtype) == (jnp.bfloat16, jnp.float32)
    close(after.weight, run(wide)[1].weight, 1e-5)
    close(answers.astype(float), run(wide)[0], 2**-7)
    start = jax.tree.map(lambda a: a.astype(jnp.bfloat16), draw_state())
    assert run(half, start)[1].weight.dtype == jnp.bfloat16
    assert [a.dtype for a in (run(wide)[0], run(wide)[1].weight)] == [jnp.float64] * 2
    single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), wide)
    assert [a.dtype for a in jax.tree.leaves(run(single))] == [jnp.float32] * 3


def test_long_episodes_in_float32(x64):
    """Nothing grows with the length: 32 steps at once are as exact as one."""
    steps, size = 2048, 16
    keys = normal(1, steps, size)
    keys /= jnp.linalg.norm(keys, axis=-1, keepdims=True)
    exact = Token(keys, keys, normal(2, steps, 4), jnp.full(steps, 0.99), jnp.full(steps, 0.999))
    single = jax.tree.map(lambda a: a.astype(jnp.float32), exact)
    right, _ = jax.jit(functools.partial(associate, DELTA, chunk=0))(exact)
    for chunk in (0, 32):
        answers, _ = jax.jit(functools.partial(associate, DELTA, chunk=chunk))(single)
        assert jnp.abs(answers - right).max() < 2e-6 * jnp.abs(right).max()


TOKENS = draw_tokens()
MOMENTUM = NO_RULE._replace(form=Form(momentum=True), site=RULES["titans"]().site)
MOMENTS = {"gates": {"momentum": TOKENS.rate}}
NO_GATES = NO_RULE._replace(site=Site(RULES["hebb"]().site.write))


@pytest.mark.parametrize(
    ("rule", "changes", "arguments", "message"),
    [
        (RULES["gradient"](), {}, {}, "has no meaning at a memory site"),
        (DELTA, {"key": TOKENS.key[0]}, {}, r"key \(3,\) and value \(7, 2\) should be"),
        (DELTA, {"key": TOKENS.key[:0]}, {}, r"key \(0, 3\)"),
        (DELTA, {"query": TOKENS.query[1:]}, {}, r"query has shape \(6, 3\), .* \(7, 3\)"),
        (DELTA, {"value": TOKENS.value[1:]}, {}, r"value has shape \(6, 2\), .* \(7, 2\)"),
        (DELTA, {"value": TOKENS.value.astype(int)}, {}, "value has dtype int32, .* floating"),
        (DELTA, {"rate": TOKENS.rate[1:]}, {}, r"rate has shape \(6,\), .* \(7,\)"),
        (DELTA, {"keep": jnp.ones((7, 3))}, {}, r"keep has shape \(7, 3\), .* \(7,\)"),
        (PER_INPUT, {"keep": jnp.ones((7, 2))}, {}, r"keep has shape \(7, 2\), .* \(7, 3\)"),
        (NO_GATES, {"gates": {"a": 1.0}}, {}, r"gates\['a'\] has shape \(\), .* \(7,\)"),
        (
            RULES["delta"](),
            {"keep": 0.9},
            {},
            "keep is given, and this rule reads query, key, .*rate",
        ),
        (RULES["comba"](), {}, {}, "gates lack 'error_key': this rule reads .*keep, error_key"),
        (HEBB, {"gates": {"a": TOKENS.rate}}, {}, "a is given, and this rule reads"),
        (RULES["oja"](), {"keep": 1.0}, {}, "does not start empty: give `state`"),
        (RULES["srwm"](), {"rate": 1.0, "keep": 1.0}, {}, r"of layers {'y'.*does not start empty"),
        (
            RULES["delta_product"](),
            {},
            {},
            r"key \(7, 3\) and value \(7, 2\) should be \[T, 2, I\] and \[T, 2, O\]",
        ),
        (DELTA, {}, {"chunk": -1}, "chunk=-1 of associate should be a whole number"),
        (DELTA, {}, {"chunk": 2.5}, r"chunk=2.5 of associate"),
        (DELTA, {}, {"state": draw_state(momentum=True)}, r"state.momentum\[0\] has .* none"),
        (
            MOMENTUM,
            MOMENTS,
            {"state": draw_state()},
            r"state.momentum\[0\] has shape none, .* \(2, 3\)",
        ),
        (
            DELTA,
            {},
            {"state": TraceMatrix(jnp.ones((3, 2)), jnp.ones(2))},
            r"state.weight has shape \(3, 2\), it should be \(2, 3\)",
        ),
        (
            DELTA,
            {},
            {"state": TraceMatrix(jnp.ones((2, 3), int), jnp.ones(2))},
            "dtype=int32 of a memory should be a floating type",
        ),
        (
            NO_RULE._replace(site=RULES["titans"]().site),
            {"gates": {"momentum": TOKENS.rate}},
            {},
            r"momentum is .* Form\(momentum=False\)",
        ),
    ],
)
def test_wrong_uses(rule, changes, arguments, message):
    with pytest.raises(ValueError, match=message):
        associate(rule, TOKENS._replace(**changes), **arguments)


def test_the_empty_memory():
    state = initial_state(RULES["hebb"](normalised=True), TOKENS._replace(rate=1.0))
    assert state.weight.shape == (OUTPUTS + 1, INPUTS)
    assert not state.weight.any()
    assert math.isclose(initial_state(DELTA, TOKENS).weight.sum(), 0)
