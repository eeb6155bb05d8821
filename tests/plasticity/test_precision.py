"""Networks whose parameters are of bfloat16: each part has the type that its neighbours expect."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.memory import ENGINES
from plasticity.model.positions import rotate
from plasticity.unroll import run_episodes
from tests.networks import make_inputs, make_network, make_params
from tests.sample import sampled

NETWORKS = [
    (backbone, engine, layers)
    for backbone, layers in (("transformer", 2), ("lstm", 0))
    for engine in ENGINES
]


@pytest.mark.parametrize(
    ("backbone", "engine", "layers"),
    sampled(NETWORKS, lambda case: case == ("transformer", "chunked", 2), "thorough"),
)
def test_a_network_runs_in_bfloat16_and_its_fast_weights_in_float32(backbone, engine, layers):
    model = {"layers": layers} if layers else {}
    network = make_network(engine=engine, backbone=backbone, model=model)
    exact, inputs = make_params(network), make_inputs()[None]
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), exact)
    whole, rounded = (jax.jit(lambda p: run_episodes(network, p, inputs))(p) for p in (exact, half))
    assert rounded.outputs.task.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(rounded.state.fast)} == {jnp.dtype("float32")}
    error = jnp.abs(rounded.outputs.task.astype(jnp.float32) - whole.outputs.task).max()
    assert error < 0.1 * jnp.abs(whole.outputs.task).max()


def test_rotations_tell_late_positions_apart_in_bfloat16():
    """257 is 256 in bfloat16."""
    x, late = jnp.ones((2, 1, 8), jnp.bfloat16), jnp.array([256, 257])
    rotated = rotate(x, late)
    assert rotated.dtype == jnp.bfloat16
    exact = rotate(x.astype(jnp.float32), late)
    np.testing.assert_allclose(rotated.astype(jnp.float32), exact, atol=0.02)
