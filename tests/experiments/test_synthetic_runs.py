"""Runs with synthetic gradients: the emitters resume, and are logged with what trains them."""

import pytest

from plasticity.configs import fields
from plasticity.experiments.run.train import train
from tests.launching import assert_same_state, final_state, read, rows, tiny_config, train_until


@pytest.mark.slow
def test_emitters_resume_bit_for_bit(tmp_path, monkeypatch):
    config = tiny_config(train__steps=6, checkpoint__every=2, evaluate__every=0, log__every=1)
    fields.choose_rule(config, "synthetic")
    config.rule.hidden = 3
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(config, str(whole)) == 0
    train_until(config, parts, 3, monkeypatch)
    assert not (parts / "result.json").exists()
    assert train(config, str(parts)) == 0
    assert_same_state(whole, parts)
    assert any(leaf.shape == (3, 8 + 8 + 1) for leaf in final_state(parts))  # of an emitter
    assert read(whole / "result.json")["metrics"] == read(parts / "result.json")["metrics"]
    assert all(row["auxiliary"] > 0 for row in rows(parts) if row["split"] == "train")
