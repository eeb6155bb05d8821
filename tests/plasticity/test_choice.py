"""The cost model prefers what it should at the extremes, and its chunks are usable."""

import collections
import json

import pytest

from plasticity.memory import ENGINES, choose, chunk_for
from plasticity.types import LayerShape
from tests.conftest import ROOT

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


MEASURED = sorted((ROOT / "experiments/results/benchmarks").glob("crossover_*.json"))


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_the_choice_is_near_the_best_that_was_measured(path):
    """Committed timings of both engines on one machine; within a third."""
    by_mode = collections.defaultdict(dict)
    for record in json.loads(path.read_text()):
        speed = record["train_episodes_per_second"]
        episodes = record["batch"] // record["devices"]
        by_mode[record["alpha"], record["steps"], episodes][record["engine"]] = speed
    assert by_mode
    for (alpha, steps, episodes), speeds in by_mode.items():
        per_synapse = alpha == "per_synapse"
        how = {"per_synapse": per_synapse, "platform": "cpu", "episodes": episodes}
        chosen = choose(LAYERS, steps, **how).engine
        assert speeds[chosen] > 0.67 * max(speeds.values()), (alpha, steps, chosen, speeds)


def test_few_episodes_leave_their_matrices_in_the_cache():
    def cost(episodes, platform="cpu"):
        how = {"per_synapse": True, "platform": platform, "episodes": episodes}
        return choose(LAYERS, 31, **how).costs["chunked"]

    assert cost(8) < cost(16) == cost(64) == cost(None)
    assert cost(64, "tpu") < cost(1024, "tpu")


def test_there_are_measurements():
    assert len(MEASURED) >= 6
