"""Optimizers in runs: they resume, are chosen by name, and leave older runs what they were."""

import json

import jax
import numpy as np
import pytest

from plasticity.configs import copying, fields
from plasticity.experiments import build
from plasticity.experiments.run.program import shape_of
from plasticity.experiments.run.stored_config import read_config
from plasticity.experiments.run.train import train
from plasticity.experiments.sweeps.points import Point
from plasticity.experiments.validate import ConfigError, validate
from plasticity.outer import OPTIMIZERS
from tests.launching import assert_same_state, final_state, tiny_config, train_until
from tests.plasticity.test_learner import SEED, make

DAILY = ("m3",)  # has the most state


def config_of(name, **options):
    config = tiny_config(**options)
    fields.choose(config, "optimizer", name)
    if not OPTIMIZERS[name]().decays:
        config.train.weight_decay = 0.0
    return config


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in DAILY else pytest.mark.slow) for n in OPTIMIZERS],
)
def test_every_optimizer_resumes_bit_for_bit(name, tmp_path, monkeypatch):
    """Two seeds of a static net, with a refresh before each step; some matrices are trained."""
    short = {"train__steps": 6, "checkpoint__every": 2, "evaluate__every": 0, "train__num_seeds": 2}
    config = config_of(name, **short)
    fields.choose(config, "rule", "none")  # which compiles fast
    config.optimizer.update(
        {"best": 3, "refresh": 1e-2, "periods": "fc2:2,embed:3"}
        | ({"every": 2} if name == "m3" else {})
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(config, str(whole)) == 0
    train_until(config, parts, 2, monkeypatch)
    assert train(config, str(parts)) == 0
    assert_same_state(whole, parts)
    assert all(np.isfinite(leaf).all() for leaf in final_state(whole))


def test_points_of_earlier_sweeps_keep_their_names(tmp_path):
    """Hashes from before there was a choice; another optimizer than the default has its own."""

    def identity(**chosen):
        chosen = {name.replace("__", "."): value for name, value in chosen.items()}
        return Point("copying", "hebbian", chosen, {}, tmp_path).identity

    assert identity() == identity(optimizer__name="adamw") == "c26d6eb4d4"
    assert len({identity(), identity(optimizer__name="sgd"), identity(optimizer__best=1)}) == 3


def test_a_run_from_before_there_was_a_choice_has_the_default(tmp_path):
    config = copying.get_config().to_dict()
    old = {section: value for section, value in config.items() if section != "optimizer"}
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert read_config(tmp_path / "config.json") == config


def test_only_what_has_a_meaning_is_accepted():
    config = config_of("classp")
    config.train.weight_decay = 0.1
    with pytest.raises(ConfigError, match=r"train.weight_decay=0.1 must be 0 for .*'classp'"):
        validate(config)
    config = config_of("sgd")
    config.optimizer.periods = "fc9:2"
    with pytest.raises(ConfigError, match=r"optimizer.periods: 'fc9' is no part of this network"):
        validate(config)
    config = config_of("sgd")
    config.optimizer.name = "muon"
    with pytest.raises(ConfigError, match=r"fields of `optimizer` are those of .*chosen by"):
        validate(config)


def test_traced_settings_of_an_optimizer_share_a_program():
    config, other = config_of("sgd"), config_of("sgd")
    other.optimizer.momentum = 0.5
    assert shape_of(config) == shape_of(other)
    hyper = build.make_hyperparameters(other, build.make_task(other))
    assert hyper.optimizer == {"momentum": np.float32(0.5)}


@pytest.mark.slow
def test_a_refresh_moves_the_weights_before_the_step():
    """By delta times the norm of each tensor, in the direction of the gradient."""
    train = {"learning_rate": 1e-30, "weight_decay": 0.0}
    learner, hyper, state = make(
        "none", train=train, optimizer={"refresh": 0.01, "refresh_noise": 0.0}
    )
    after, _ = jax.jit(learner.train_step)(state, SEED, hyper)
    for new, old in zip(*map(jax.tree.leaves, (after.params, state.params)), strict=True):
        change = np.linalg.norm(new - old)
        np.testing.assert_allclose(change, 0.01 * np.linalg.norm(old), rtol=1e-2, atol=1e-6)
