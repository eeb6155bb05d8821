"""Scaling on paper: linear in depth, honest about what does not fit."""

import json

import pytest

from plasticity.configs import copying
from plasticity.experiments.costs import compiled_cost, seconds
from plasticity.experiments.scaling import meshes
from plasticity.experiments.topology import CHIPS, Chip
from plasticity.experiments.validate import ConfigError


def test_times_are_those_of_the_data_sheet():
    chip = Chip(peak=100.0, memory=1.0, bandwidth=2.0, near=10.0, far=1.0, clock=1.0)
    sent = {("all-reduce", 4, 4): 40.0, ("all-gather", 4, 4): 40.0, ("all-reduce", 2, 5): 6.0}
    times = seconds({"products": 50.0, "moved_bytes": 3.0} | sent, chip, row=4)
    near, far = (2 + 1) * 40 * 3 / 4 / 10, 2 * 6 / 2 / 1
    assert times == {"products": 0.5, "memory": 1.5, "near": near, "far": far}


def test_meshes():
    assert meshes(["1x8", "64x8"]) == [(1, 8), (64, 8)]
    for wrong in (["8"], ["0x8"], ["ax8"], ["2x2x2"], ["²x2"], [""], []):
        with pytest.raises(ConfigError, match="must be DATAxMODEL"):
            meshes(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "chunk"), [("factored", 0), ("chunked", 8)])
def test_the_formula_for_memory(engine, chunk):
    """That of docs/howto/hosts.md, by what twice the episodes and twice the steps add."""

    def config(steps, batch):
        made = copying.get_config("hebbian")
        made.update_from_flattened_dict(
            {
                "memory.engine": engine,
                "memory.chunk": chunk,
                "task.delay": steps - 11,
                "train.batch": batch,
                "mesh.data": 1,
                "evaluate.batch": 1,
            }
        )
        return made

    def numbers(steps, batch, width=64, feed_forward=128, layers=2):
        matrices = 2 * batch * steps / chunk * width * feed_forward if chunk else 0
        return layers * (18 * batch * steps * (width + feed_forward) + matrices)

    small = compiled_cost(config(32, 16))["temporary_bytes"]
    for steps, batch in ((64, 16), (32, 32)):
        added = compiled_cost(config(steps, batch))["temporary_bytes"] - small
        expected = 4 * (numbers(steps, batch) - numbers(32, 16))
        assert 2 / 3 < added / expected < 4 / 3


@pytest.mark.slow
def test_a_report(program, tmp_path):
    out = tmp_path / "paper.json"
    command = [
        "scaling",
        "--config=configs/large.py",
        "--config.model.width=16",
        "--config.model.feed_forward=32",
        "--config.model.heads=2",
        "--config.model.layers=8",
        "--config.task.delay=2",
        "--meshes=2x2,4x2",
        "--share=2",
        f"--out={out}",
    ]
    code, shown, err = program(*command)
    assert code == 0, err
    few, many = json.loads(out.read_text())
    # Each device's own work does not depend on how many rows there are.
    assert many["per_device"]["products"] == few["per_device"]["products"]
    assert many["batch"] == 2 * few["batch"]
    slow_weights = 8 * (4 * 16 * 16 + 2 * 16 * 32)
    assert few["per_device"]["state_bytes"] > 3 * 4 * slow_weights / 2
    assert few["chips"].keys() == CHIPS.keys()
    assert "2 x 2 devices" in shown
    code, _, err = program(*command)
    assert code == 2
    assert "nothing is overwritten" in err
