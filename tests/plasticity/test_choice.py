"""The cost model prefers what it should at the extremes, and its chunks are usable."""

import pytest

from plasticity.memory import ENGINES, choose, chunk_for
from plasticity.types import LayerShape

LAYERS = [LayerShape(256, 128), LayerShape(128, 256)] * 2


@pytest.mark.parametrize("per_synapse", [True, False])
@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_short_episodes_keep_rows_and_long_ones_matrices(per_synapse, platform):
    def engine(steps):
        return choose(LAYERS, steps, per_synapse=per_synapse, platform=platform).engine

    assert engine(8) == "factored"
    assert engine(8192) == "chunked"


def test_a_matrix_of_alphas_makes_rows_dearer():
    costs = [
        choose(LAYERS, 64, per_synapse=p, platform="cpu").costs["factored"] for p in (True, False)
    ]
    assert costs[0] > 2 * costs[1]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("steps", [1, 7, 64, 4096])
def test_every_chosen_chunk_is_one_that_the_engine_takes(engine, steps):
    chunk = chunk_for(engine, LAYERS, steps)
    assert 0 <= chunk <= max(steps, 64)
    assert chunk > 0 or engine != "chunked"
    ENGINES[engine](chunk)
