"""Every engine is exact, for every write. A new entry of ENGINES is tested by being there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from plasticity import synapse as synapses
from plasticity.memory import ENGINES
from plasticity.types import LayerShape, Write
from tests.oracles import alpha_matrix, memory_oracle

SHAPE = LayerShape(outputs=3, inputs=4)


def draw_synapse(mode, seed=0, bias=True):
    return synapses.init(
        jax.random.key(seed), SHAPE, mode=mode, initializer="uniform", scale=1.0, plastic_bias=bias
    )


def draw_writes(seed, steps, per_output):
    rng = np.random.default_rng(seed)
    size = (SHAPE.outputs,) if per_output else ()
    return [
        (
            rng.normal(size=SHAPE.outputs),
            rng.normal(size=SHAPE.inputs),
            rng.uniform(size=size),
            rng.uniform(size=size),
        )
        for _ in range(steps)
    ]


def run(engine, writes, dtype=jnp.float64):
    state = engine.init(SHAPE, max(len(writes), 1), dtype)
    for write in writes:
        state = engine.apply(state, Write(*(jnp.asarray(w, dtype) for w in write)))
    return state


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=25, deadline=None)
@given(
    mode=st.sampled_from(sorted(synapses.MODES)),
    steps=st.integers(0, 6),
    per_output=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_reads_and_weights_equal_the_oracle(engine, mode, steps, per_output, bias, seed):
    with jax.enable_x64(True):
        synapse = draw_synapse(mode, seed, bias)
        writes = draw_writes(seed, steps, per_output)
        weight, fast_bias = memory_oracle(SHAPE, *alpha_matrix(synapse, SHAPE), writes)
        state = run(ENGINES[engine], writes)
        x = np.random.default_rng(seed + 1).normal(size=SHAPE.inputs)
        read = ENGINES[engine].read(state, synapse, jnp.asarray(x))
        np.testing.assert_allclose(read, weight @ x + fast_bias, rtol=1e-10, atol=1e-12)
        shown = ENGINES[engine].weights(state, synapse)
        np.testing.assert_allclose(shown.weight, weight, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(shown.bias, fast_bias, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", synapses.MODES)
def test_gradients_reach_every_part_of_a_write(engine, mode, x64):
    """Against finite differences, through two writes, a read and the coefficients."""
    memory = ENGINES[engine]
    writes = jax.tree.map(jnp.asarray, [Write(*w) for w in draw_writes(3, 2, per_output=True)])
    synapse = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), draw_synapse(mode))
    x = jnp.arange(1.0, 5.0)

    def loss(inputs):
        writes, synapse, x = inputs
        state = memory.init(SHAPE, 2, jnp.float64)
        for write in writes:
            state = memory.apply(state, write)
        return (memory.read(state, synapse, x) ** 3).sum()

    check_grads(loss, ((writes, synapse, x),), order=1, modes=["rev"], rtol=1e-6)
    (first, *rest), *others = jax.grad(loss)((writes, synapse, x))
    reached = [first._replace(keep=first.rate), rest, others]  # at first nothing is there to keep
    assert all(jnp.any(g != 0) for g in jax.tree.leaves(reached))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_memory_recalls_nothing(engine):
    memory = ENGINES[engine]
    state = memory.init(SHAPE, 5, jnp.float32)
    recalled = memory.read(state, draw_synapse("per_synapse"), jnp.ones(SHAPE.inputs))
    np.testing.assert_array_equal(recalled, np.zeros(SHAPE.outputs))


@pytest.mark.parametrize("engine", ENGINES)
def test_keep_one_rate_zero_changes_nothing(engine):
    memory, synapse = ENGINES[engine], draw_synapse("per_synapse")
    writes = draw_writes(5, 3, per_output=False)
    nothing = (np.ones(SHAPE.outputs), np.ones(SHAPE.inputs), 0.0, 1.0)
    x = jnp.ones(SHAPE.inputs)
    a = memory.read(run(memory, writes, jnp.float32), synapse, x)
    b = memory.read(run(memory, [*writes, nothing], jnp.float32), synapse, x)
    np.testing.assert_array_equal(a, b)
