"""Runs of plain classifiers: they resume, and the sweep has both ways to learn."""

import pytest

from plasticity.configs import classify
from plasticity.experiments.run.train import train
from plasticity.experiments.run.warm_start import check_start
from plasticity.experiments.validate import ConfigError
from tests import pools
from tests.launching import assert_same_state, read, rows, train_until


@pytest.fixture(autouse=True)
def prepared(monkeypatch, tmp_path):
    """Ten classes as Omniglot."""
    monkeypatch.setenv("PLASTICITY_DATA_DIR", str(pools.write_omniglot(tmp_path / "data")))


def small(**changed):
    config = classify.get_config("omniglot/feed_forward")
    config.update_from_flattened_dict(
        {
            "task.labels": 3,
            "task.images": 4,
            "model.hidden": 6,
            "model.layers": 1,
            "train.steps": 6,
            "train.warmup": 2,
            "train.num_seeds": 2,
            "log.every": 1,
            "checkpoint.every": 2,
            "evaluate.every": 0,
            "evaluate.episodes": 4,
            "evaluate.batch": 2,
        }
        | changed
    )
    return config


@pytest.mark.slow
def test_local_losses_resume_bit_for_bit(tmp_path, monkeypatch):
    config = small(**{"model.credit": "counter_current"})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(config, str(whole)) == 0
    train_until(config, parts, 3, monkeypatch)
    assert not (parts / "result.json").exists()
    assert train(config, str(parts)) == 0
    assert_same_state(whole, parts)
    assert read(whole / "result.json")["seeds"] == read(parts / "result.json")["seeds"]
    training = [row for row in rows(parts) if row["split"] == "train"]
    assert len(training) == 2 * 6
    assert all(row["auxiliary"] > 0 for row in training)


@pytest.mark.slow
def test_an_encoder_that_was_trained_locally_is_a_start_for_others(tmp_path):
    """And a feed-forward net has none."""
    one = {"encoder.filters": 8, "train.num_seeds": 1, "train.steps": 2, "train.warmup": 1}
    config = small(**one, **{"model.net": "conv4", "model.credit": "counter_current"})
    assert train(config, str(tmp_path / "first")) == 0
    started = small(**one, **{"model.net": "conv4", "encoder.start_from": str(tmp_path / "first")})
    check_start(started)
    assert train(started, str(tmp_path / "second")) == 0
    (tmp_path / "first").rename(tmp_path / "elsewhere")  # a run that has started needs it no more
    started.train.steps = 3
    assert train(started, str(tmp_path / "second")) == 0
    started.model.net = "feed_forward"
    with pytest.raises(ConfigError, match="the net of this config, 'feed_forward', has no encoder"):
        check_start(started)


def test_the_sweep_has_both_ways_to_learn():
    assert classify.credits() == [
        {"model.credit": "backprop"},
        {"model.credit": "counter_current"},
    ]
    with pytest.raises(ValueError, match=r"DATASET.*'mnist' is unknown"):
        classify.get_config("mnist/conv4")
