"""From images to rules on frozen features, as a user does it, on a small prepared data set."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from plasticity.experiments.build import make_hyperparameters, make_learner
from plasticity.experiments.run.evaluate import trained_parameters
from plasticity.experiments.run.kept import initial_parameters
from plasticity.experiments.run.warm_start import encoder_of
from plasticity.experiments.run.workdir import Workdir
from tests import pools

SMALL = [
    "--config.task.ways=3",
    "--config.task.shots=1",
    "--config.task.queries=2",
    "--config.encoder.filters=8",
    "--config.train.batch=2",
    "--config.train.steps=4",
    "--config.train.warmup=1",
    "--config.log.every=2",
    "--config.evaluate.episodes=4",
    "--config.evaluate.batch=2",
]
RULE = [
    "--config.model.width=8",
    "--config.model.feed_forward=8",
    "--config.model.heads=2",
    "--config.model.layers=1",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data directory with ten classes as Omniglot."""
    return pools.write_omniglot(tmp_path_factory.mktemp("data"))


@pytest.fixture
def launch(program, monkeypatch, data):
    monkeypatch.setenv("PLASTICITY_DATA_DIR", str(data))
    return program


@pytest.fixture
def encoded(launch, tmp_path):
    """An encoder and what it makes of all images: (workdir, features, what was printed)."""
    workdir = tmp_path / "encoder"
    config = "--config=configs/encoder.py:omniglot"
    code, _, err = launch("launch", config, f"--workdir={workdir}", *SMALL)
    assert code == 0, err
    code, out, err = launch("encode", f"--workdir={workdir}")
    assert code == 0, err
    return workdir, workdir / "features.npz", out


@pytest.mark.thorough
def test_an_encoder_and_its_features(encoded, launch):
    encoder, features, out = encoded
    manifest = json.loads((encoder / "manifest.json").read_text())
    assert manifest["data_checksum"] == "small"
    with np.load(features) as file:
        assert file["features"].shape == (pools.CLASSES, 4, pools.PER_CLASS, 8)
        assert str(file["checksum"]) == "small"
        # The mark sits in a corner: a quarter turn moves it, and the encoder sees that.
        assert (file["features"][:, 0] != file["features"][:, 1]).any()
    assert "--config.task.features=" in out
    code, _, err = launch("encode", f"--workdir={encoder}")
    assert code == 2
    assert "nothing is overwritten" in err


@pytest.mark.slow
def test_a_rule_on_features(encoded, launch, tmp_path):
    _, features, _ = encoded
    rule = ["--config=configs/omniglot.py:hebbian", f"--config.task.features={features}", *RULE]
    code, _, err = launch("launch", *rule, f"--workdir={tmp_path / 'rule'}", *SMALL)
    assert code == 0, err
    result = json.loads((tmp_path / "rule" / "result.json").read_text())
    assert 0 <= result["metrics"]["accuracy"]["mean"] <= 1
    assert result["metrics"]["eta_mean"]["mean"] > 0


@pytest.mark.slow
def test_on_two_devices_with_the_encoder_of_another_run(launch, tmp_path, monkeypatch):
    first, second = (f"--workdir={tmp_path / name}" for name in ("first", "second"))
    assert launch("launch", "--config=configs/encoder.py:omniglot", first, *SMALL)[0] == 0
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    start = f"--config.encoder.start_from={tmp_path / 'first'}"
    config = ["--config=configs/omniglot.py:gradient", start, *RULE]
    code, _, err = launch("launch", *config, second, *SMALL)
    assert code == 0, err
    assert json.loads((tmp_path / "second" / "manifest.json").read_text())["device_count"] == 2


@pytest.mark.slow
def test_from_pixels_with_the_encoder_of_another_run(launch, tmp_path):
    first = tmp_path / "first"
    config = ["--config=configs/omniglot.py:gradient", "--config.memory.engine=dense", *RULE]
    assert (
        launch("launch", "--config=configs/encoder.py:omniglot", f"--workdir={first}", *SMALL)[0]
        == 0
    )
    start = f"--config.encoder.start_from={first}"
    frozen = "--config.train.learning_rate=1e-30"
    second = f"--workdir={tmp_path / 'second'}"
    code, _, err = launch(
        "launch", *config, second, *SMALL, start, frozen, "--config.train.num_seeds=2"
    )
    assert code == 0, err
    ours, theirs = (
        encoder_of(trained_parameters(ConfigDict(work.load_config()), work)[1])
        for work in (Workdir(str(tmp_path / "second")), Workdir(str(first)))
    )
    for own, their in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(own, np.stack([their] * 2), atol=1e-7)
    _starts_with(theirs, Workdir(str(tmp_path / "second")))
    for wrong, message in (
        ([start, "--config.encoder.filters=16"], "has the encoder"),
        (["--config.encoder.start_from=nowhere"], "nowhere"),
        ([f"--config.encoder.start_from={tmp_path / 'second'}"], "one seed, not of 2"),
    ):
        code, _, err = launch("launch", *config, f"--workdir={tmp_path / 'x'}", *SMALL, *wrong)
        assert code == 2
        assert message in err
        assert not (tmp_path / "x").exists()


def _starts_with(encoder, workdir):
    """The untrained network of a run, with which its analysis compares, has this encoder."""
    config = ConfigDict(workdir.load_config())
    learner = make_learner(config)
    hyper = make_hyperparameters(config, learner.task)
    before = encoder_of(initial_parameters(config, learner, 0, hyper))
    alone = encoder_of(learner.init(jnp.int32(0), hyper).params)
    chex.assert_trees_all_equal(before, encoder)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(alone, encoder)


def test_a_prototypical_net_has_no_rule(launch, tmp_path):
    flags = ["--config=configs/encoder.py", f"--workdir={tmp_path / 'run'}", *SMALL]
    code, _, err = launch("launch", *flags, "--config.rule.name=hebbian")
    assert code == 2
    assert "rule.name='hebbian' must be 'none' for model.name='prototypical'" in err
    code, _, err = launch("launch", *flags, "--config.task.order=stream")
    assert code == 2
    assert "task.order='independent'" in err
