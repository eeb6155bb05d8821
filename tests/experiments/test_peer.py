"""The network in plain PyTorch, by which speed is judged, computes the same."""

import importlib.util
import json

import pytest

SMALL = [
    "--config.model.width=16",
    "--config.model.feed_forward=24",
    "--config.model.heads=2",
    "--config.model.attention_window=2",
    "--config.task.seq_length=2",
    "--config.task.delay=3",
    "--config.train.batch=3",
    "--repeats=1",
]
HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch, of the extra benchmark, is not installed")
@pytest.mark.parametrize("alpha", ["per_neuron", "per_synapse"])
def test_loss_and_meta_gradient_are_those_of_pytorch(alpha, program, tmp_path):
    out = tmp_path / "peer.json"
    flags = [f"--config.rule.alpha={alpha}", "--config.rule.max_norm=0.3", *SMALL]
    code, _, error = program("peer", "--config=copying:hebbian", f"--out={out}", *flags)
    assert code == 0, error
    record = json.loads(out.read_text())
    assert record["loss_difference"] < 1e-5
    assert record["gradient_difference"] < 1e-4


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--config=copying:gradient"], "rule.name='gradient'"),
        (["--config=copying:hebbian", "--config.model.plastic=attention"], "model.plastic"),
    ],
)
def test_other_networks_are_refused(flags, named, program, tmp_path):
    code, _, error = program("peer", f"--out={tmp_path / 'peer.json'}", *flags)
    assert code == 2
    assert named in error
    assert not (tmp_path / "peer.json").exists()
