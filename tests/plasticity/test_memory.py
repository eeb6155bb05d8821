"""Every engine is exact, for every write. A new entry of ENGINES is tested by being there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from plasticity import synapse as synapses
from plasticity.memory import ENGINES, advance, silenced
from plasticity.types import Form, LayerShape, Synapse, Write
from tests.oracles import alpha_matrix, memory_oracle
from tests.sample import sampled

SHAPE = LayerShape(outputs=3, inputs=4)
SCALAR, OUTPUT = Form(), Form("output")
RICHEST = Form("input", 2, momentum=True)
FORMS = st.builds(
    Form,
    st.sampled_from(["scalar", "output", "input"]),
    st.integers(1, 3),
    st.booleans(),
    to_weights=st.none(),
    settle=st.none(),
    bias=st.just(False),
)


def draw_synapse(mode, seed=0, bias=True):
    return synapses.init(
        jax.random.key(seed), SHAPE, mode=mode, initializer="uniform", scale=1.0, plastic_bias=bias
    )


def draw_writes(seed, steps, form=SCALAR):
    rng = np.random.default_rng(seed)
    terms = () if form.terms == 1 else (form.terms,)
    size = {"scalar": (), "output": (SHAPE.outputs,), "input": (SHAPE.inputs,)}[form.keep]
    return [
        (
            rng.normal(size=(*terms, SHAPE.outputs)),
            rng.normal(size=(*terms, SHAPE.inputs)),
            rng.uniform(size=size if form.keep == "output" else ()),
            rng.uniform(size=size),
            *([rng.uniform()] if form.momentum else []),
        )
        for _ in range(steps)
    ]


def run(memory, writes, chunk=2, dtype=jnp.float64):
    """All writes, closing and opening again after every `chunk` of them."""
    base = memory.init(SHAPE, dtype)
    state = memory.open(base, SHAPE, chunk)
    for i, write in enumerate(writes):
        if i and i % chunk == 0:
            state = memory.open(memory.close(state), SHAPE, chunk)
        state = advance(
            memory,
            state,
            jax.tree.map(lambda w: jnp.asarray(w, dtype), Write(*write)),
            jnp.int32(i % chunk),
        )
    return state


@pytest.mark.parametrize("engine", sampled(ENGINES, lambda name: name != "factored", "thorough"))
@settings(max_examples=20, deadline=None)
@given(
    mode=st.sampled_from(sorted(synapses.MODES)),
    steps=st.integers(0, 6),
    form=FORMS,
    bias=st.booleans(),
    chunk=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_reads_and_weights_equal_the_oracle(engine, mode, steps, form, bias, chunk, seed):
    memory = ENGINES[engine](chunk, form)
    with jax.enable_x64(True):
        synapse = draw_synapse(mode, seed, bias)
        writes = draw_writes(seed, steps, form)
        weight, fast_bias = memory_oracle(SHAPE, *alpha_matrix(synapse, SHAPE), writes)
        state = run(memory, writes, chunk)
        x = np.random.default_rng(seed + 1).normal(size=SHAPE.inputs)
        read = memory.read(state, synapse, jnp.asarray(x))
        np.testing.assert_allclose(read, weight @ x + fast_bias, rtol=1e-10, atol=1e-12)
        shown = memory.weights(memory.close(state), synapse)
        np.testing.assert_allclose(shown.weight, weight, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(shown.bias, fast_bias, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_silenced_write_leaves_the_weights_as_they_are(engine, x64):
    """Also of a memory with momentum, into which earlier writes would go on to flow."""
    form = Form(momentum=True)
    memory = ENGINES[engine](1, form)
    first, second = (jax.tree.map(jnp.asarray, Write(*w)) for w in draw_writes(3, 2, form))
    before, after = (run(memory, writes, 2) for writes in ([first], [first, silenced(second)]))
    x, synapse = jnp.arange(1.0, 5.0), Synapse()
    np.testing.assert_allclose(
        memory.read(after, synapse, x), memory.read(before, synapse, x), rtol=1e-12
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", synapses.MODES)
@pytest.mark.parametrize(
    ("chunk", "form"),
    sampled([(1, OUTPUT), (2, OUTPUT), (2, RICHEST)], lambda c: c[1] == RICHEST, "thorough"),
)
def test_gradients_reach_every_part_of_a_write(engine, mode, chunk, form, x64):
    """Against finite differences, through two writes, a read and the coefficients."""
    memory = ENGINES[engine](1, form)
    writes = [jax.tree.map(jnp.asarray, Write(*w)) for w in draw_writes(3, 2, form)]
    synapse = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), draw_synapse(mode))
    x = jnp.arange(1.0, 5.0)

    def loss(inputs):
        writes, synapse, x = inputs
        state = run(memory, writes, chunk)
        return (memory.read(state, synapse, x) ** 3).sum()

    check_grads(loss, ((writes, synapse, x),), order=1, modes=["rev"], rtol=1e-6)
    (first, *rest), *others = jax.grad(loss)((writes, synapse, x))
    # At first nothing is there to keep or to go on with.
    reached = [first._replace(keep=first.rate, momentum=None), rest, others]
    assert all(jnp.any(g != 0) for g in jax.tree.leaves(reached))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_memory_recalls_nothing(engine):
    memory = ENGINES[engine](5)
    state = run(memory, [], dtype=jnp.float32)
    recalled = memory.read(state, draw_synapse("per_synapse"), jnp.ones(SHAPE.inputs))
    np.testing.assert_array_equal(recalled, np.zeros(SHAPE.outputs))


@pytest.mark.parametrize("engine", ENGINES)
def test_keep_one_rate_zero_changes_nothing(engine):
    memory, synapse = ENGINES[engine](2), draw_synapse("per_synapse")
    writes = draw_writes(5, 3)
    nothing = (np.ones(SHAPE.outputs), np.ones(SHAPE.inputs), 0.0, 1.0)
    x = jnp.ones(SHAPE.inputs)
    a, b = (
        memory.read(run(memory, w, dtype=jnp.float32), synapse, x)
        for w in (writes, [*writes, nothing])
    )
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("keep", [0.0, -0.5, 1e-30])
def test_keep_may_be_zero_negative_or_vanish(engine, keep, x64):
    """Rates of one and more, long products: no quotient, no logarithm, no NaN, no lost row."""
    memory, synapse = ENGINES[engine](4), draw_synapse("per_neuron")
    writes = [(left, right, 1.0, keep) for left, right, _, _ in draw_writes(7, 9)]
    weight, bias = memory_oracle(SHAPE, *alpha_matrix(synapse, SHAPE), writes)
    x = jnp.ones(SHAPE.inputs)

    def recall(keep):
        scaled = [(left, right, rate, keep) for left, right, rate, _ in writes]
        return memory.read(run(memory, scaled, 4), synapse, x)

    np.testing.assert_allclose(recall(keep), weight @ np.ones(4) + bias, rtol=1e-10)
    slope = jax.jacrev(recall)(jnp.asarray(keep))
    near = (recall(keep + 1e-6) - recall(keep - 1e-6)) / 2e-6
    np.testing.assert_allclose(slope, near, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("written", "message"),
    [
        (OUTPUT, r"rate has shape \(3,\), it should be \(\)"),
        (Form("input"), r"keep has shape \(4,\), it should be \(\)"),
        (Form(terms=2), r"left has shape \(2, 3\), it should be \(3,\)"),
        (Form(momentum=True), r"momentum is .*, but the memory was made for Form\(momentum=False"),
    ],
)
def test_the_form_of_writes_must_be_announced(engine, written, message):
    """As many slots as outputs: the shapes alone would go together."""
    with pytest.raises(ValueError, match=message):
        run(ENGINES[engine](3), draw_writes(5, 3, written), SHAPE.outputs, jnp.float32)


def test_a_map_from_trace_to_weights_needs_the_matrix(x64):
    """The dense engine applies it; the others say that it can."""
    form = Form(to_weights=lambda h: h / jnp.linalg.norm(h))
    memory, synapse, x = ENGINES["dense"](0, form), draw_synapse("per_synapse"), jnp.ones(4)
    state, plain = (run(m, draw_writes(1, 3), 3) for m in (memory, ENGINES["dense"](0)))
    weight = np.asarray(synapse.alpha) * plain.carry.weight / np.linalg.norm(plain.carry.weight)
    bias = synapse.beta * plain.carry.bias
    np.testing.assert_allclose(memory.read(state, synapse, x), weight.sum(1) + bias, rtol=1e-12)
    np.testing.assert_allclose(memory.weights(memory.close(state), synapse).weight, weight)
    for engine in set(ENGINES) - {"dense"}:
        with pytest.raises(ValueError, match=f"{engine} engine cannot .*engine='dense' can"):
            ENGINES[engine](2, form)


def rank_one(left=3, right=4, rate=0.5, keep=0.5):
    return Write(jnp.ones(left), jnp.ones(right), jnp.asarray(rate), jnp.asarray(keep))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("slot", [-1, 2, 10**6])
def test_a_write_without_a_slot_is_an_error_or_shows(engine, slot):
    """Where the slot is traced nothing can be raised: what is read is NaN, never a lost write."""
    memory, synapse = ENGINES[engine](2), draw_synapse("per_synapse")
    state = memory.open(memory.init(SHAPE, jnp.float32), SHAPE, 2)
    for number in range(2):
        state = advance(memory, state, rank_one(), number)
    for same in (slot, np.int32(slot), jnp.int32(slot)):
        with pytest.raises(ValueError, match=rf"slot {slot} is not one of the 2 .*open another"):
            advance(memory, state, rank_one(), same)
    after = jax.jit(lambda slot: advance(memory, state, rank_one(), slot))(slot)
    assert np.isnan(memory.read(after, synapse, jnp.ones(SHAPE.inputs))).all()
    inside = jax.jit(lambda slot: advance(memory, state, rank_one(), slot))(1)
    assert np.isfinite(memory.read(inside, synapse, jnp.ones(SHAPE.inputs))).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize(
    "form", sampled([SCALAR, OUTPUT, RICHEST], lambda form: form == RICHEST, "thorough")
)
def test_a_state_keeps_its_type_whatever_the_type_of_theta(engine, dtype, form):
    """Coefficients and writes are float32. The oracle allows for the rounding of the state."""
    memory, synapse = ENGINES[engine](2, form), draw_synapse("per_synapse")
    writes = draw_writes(4, 4, form)
    weight, bias = memory_oracle(SHAPE, *alpha_matrix(synapse, SHAPE), writes)

    def body(state, scanned):
        return advance(memory, state, *scanned), memory.read(state, synapse, jnp.ones(4))

    with jax.enable_x64(dtype == "float64"):
        state = memory.open(memory.init(SHAPE, dtype), SHAPE, 4)
        stacked = Write(*(jnp.asarray(np.stack(w), jnp.float32) for w in zip(*writes, strict=True)))
        state, _ = jax.lax.scan(body, state, (stacked, jnp.arange(4)))
        assert {a.dtype for a in jax.tree.leaves(state)} == {jnp.dtype(dtype)}
        read = memory.read(state, synapse, jnp.ones(4, jnp.float32))
        np.testing.assert_allclose(read, weight.sum(1) + bias, rtol=0.05, atol=0.05)
        with pytest.raises(ValueError, match="should be a floating type"):
            memory.init(SHAPE, jnp.int32)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", synapses.MODES)
@pytest.mark.parametrize(
    "form", sampled([SCALAR, OUTPUT, RICHEST], lambda form: form == RICHEST, "thorough")
)
def test_no_rank_is_promoted(engine, mode, form):
    """Host programs may set jax_numpy_rank_promotion to "raise"."""
    memory, synapse = ENGINES[engine](2, form), draw_synapse(mode)
    writes = draw_writes(1, 3, form)
    with jax.numpy_rank_promotion("raise"):
        state = run(memory, writes, 2, jnp.float32)
        memory.read(state, synapse, jnp.ones(SHAPE.inputs))
        memory.weights(memory.close(state), synapse)
        jax.grad(lambda w: run(memory, [w], 2, jnp.float32).carry[1].sum())(
            jax.tree.map(jnp.asarray, Write(*writes[0]))
        )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            rank_one()._replace(left=jnp.ones((1, 3))),
            r"left has shape \(1, 3\), it should be \(3,\)",
        ),
        (rank_one(right=3), r"right has shape \(3,\), it should be \(4,\)"),
        (rank_one(rate=[0.5]), r"rate has shape \(1,\), it should be \(3,\)"),
        (rank_one(keep=np.ones((2, 3))), "keep has shape .*jax.vmap adds episodes"),
    ],
)
def test_a_batch_is_refused_where_one_episode_is_meant(engine, write, message):
    memory, synapse = ENGINES[engine](2, OUTPUT), draw_synapse("per_synapse")
    state = memory.open(memory.init(SHAPE, jnp.float32), SHAPE, 2)
    with pytest.raises(ValueError, match=message):
        advance(memory, state, write, 0)
    with pytest.raises(ValueError, match=r"x has shape \(4, 4\), it should be \(4,\)"):
        memory.read(state, synapse, jnp.ones((4, 4)))
    jax.vmap(memory.read, (None, None, 0))(state, synapse, jnp.ones((4, 4)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chunk", [-1, -7, 1.5, 2.0, True, None, "2"])
def test_a_chunk_is_a_whole_number_of_steps(engine, chunk):
    with pytest.raises(
        ValueError, match=rf"chunk={chunk} of the {engine} engine should be a whole"
    ):
        ENGINES[engine](chunk)


def test_a_chunk_of_no_steps_is_none_of_the_chunked_engine():
    with pytest.raises(ValueError, match=r"chunk=0 of the chunked engine .* at least 1"):
        ENGINES["chunked"](0)
    assert ENGINES["dense"](0).chunk == ENGINES["factored"](np.int64(0)).chunk == 0
