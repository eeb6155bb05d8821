"""Analysis of traces and states whose answer is known."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.experiments import build
from plasticity.experiments.probing import analysis
from plasticity.experiments.probing.analysis import _plain, analyse, read_analysis
from plasticity.experiments.probing.decoding import decoded
from plasticity.experiments.probing.probe import EPISODES, Probe, gating_index, moments
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.interventions import silence
from plasticity.learner import RandomStream
from plasticity.spectra import MEASURES, slow_matrix
from tests.experiments.test_compare import ANALYSIS
from tests.plasticity.test_learner import small_config

SHOWN = np.arange(6) < 2


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([1, 1, 0, 0, 0, 0], 1),
        ([0, 0, 1, 1, 1, 1], -1),
        ([0.3] * 6, 0),
        ([3, 3, 1, 1, 1, 1], 0.5),
        ([0] * 6, math.nan),
    ],
)
def test_gating_index(rates, expected):
    assert gating_index(np.array(rates, float), SHOWN) == pytest.approx(expected, nan_ok=True)


def test_gating_needs_both_kinds_of_steps():
    assert math.isnan(gating_index(np.ones(6), np.ones(6, bool)))


def test_labels_mixed_linearly_into_states_are_decoded():
    """There are more numbers in a state than states, and noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (200, 3))
    one_hot = np.eye(4)[labels].reshape(200, -1)
    noise = rng.normal(size=(200, 500))
    states = 3 * one_hot @ rng.normal(size=(12, 500)) + noise
    assert decoded(states, labels, 4) > 0.95
    assert decoded(noise, labels, 4) == pytest.approx(0.25, abs=0.1)


@pytest.fixture(scope="module")
def trained():
    """An untrained network that writes strongly: (config, parameters)."""
    config = small_config()
    config.rule.eta0, config.rule.alpha_init, config.rule.alpha_scale = 1.0, "uniform", 1.0
    learner = build.make_learner(config)
    hyper = jax.tree.map(jnp.float32, build.make_hyperparameters(config, learner.task))
    return config, learner.init(jnp.int32(config.seed), hyper).params


@pytest.fixture(scope="module")
def probe(trained):
    """One probe for all tests: each compiles its programs anew."""
    return Probe(trained[0])


@pytest.mark.thorough
def test_analysis_of_an_untrained_network(trained, probe, monkeypatch, tmp_path):
    """Trained and untrained are then the same; what is written can be read."""
    config, params = trained
    monkeypatch.setattr(analysis, "Probe", lambda _: probe)
    (record,) = analyse(config, params)
    metrics = record["metrics"]
    layers, events = probe.layers, probe.task.events
    assert metrics["gating_index"] == pytest.approx(metrics["gating_index_untrained"])
    for kind in ("rates", "sizes"):
        for layer in layers:
            assert record[kind][layer].shape == (probe.task.steps,)
            np.testing.assert_allclose(record[kind][layer], record["untrained"][kind][layer])
    assert metrics.keys() >= ANALYSIS | {f"{name}_untrained" for name in ANALYSIS}
    # sigmoid(g) is the rate, but for eta0 = 1 and the clip, which can only lessen it.
    rate = np.mean(list(record["rates"].values()), axis=0)
    assert (record["gates"] >= rate - 1e-6).all()
    assert metrics["gate"] == pytest.approx(record["gates"].mean())
    shown = np.array(events) == "presentation"
    assert metrics["eta_presentation"] == pytest.approx(rate[shown].mean(), rel=1e-5)
    for spectrum in record["spectra"].values():
        assert (np.diff(spectrum["fast"]) <= 1e-6).all()
        assert spectrum["slow"].shape == spectrum["fast"].shape
    check_matrices(record, params, probe)
    first = int(shown.sum())
    assert metrics[f"decoded_{first}"] > 0.5  # right after it was written
    content = {"step": 3, "events": probe.task.events, "seeds": [record]}
    path = tmp_path / "analysis.json"
    path.write_text(json.dumps(jax.tree.map(_plain, content)))
    (stored,) = read_analysis(path, 3)["seeds"]
    assert len(stored["matrices"]) == len(record["matrices"])
    assert stored["metrics"]["eta"] == pytest.approx(metrics["eta"], rel=1e-4)
    with pytest.raises(DamagedFileError, match="after step 4"):
        read_analysis(path, 4)


def check_matrices(record, params, probe):
    """Rows at the start and after each phase; fast weights of one write per step."""
    rows = {(r["step"], r["layer"], r["weights"]): r for r in record["matrices"]}
    assert len(rows) == len(record["matrices"])
    assert {r["after"]: r["step"] for r in record["matrices"]} == {
        "": 0, "presentation": 2, "delay": 3, "delimiter": 4, "recall": 6
    }  # fmt: skip
    for layer in probe.layers:
        start, slow = rows[0, layer, "fast"], rows[0, layer, "slow"]
        assert {start[name] for name in MEASURES} == {0.0}
        effective = rows[0, layer, "effective"]
        assert {n: effective[n] for n in MEASURES} == pytest.approx({n: slow[n] for n in MEASURES})
        for step in (2, 4):
            fast = rows[step, layer, "fast"]
            assert 1 <= fast["effective_rank"] <= fast["rank"] <= step
            assert rows[step, layer, "effective"] != effective
        expected = np.linalg.cond(np.asarray(slow_matrix(params.slow, layer)))
        assert slow["condition_number"] == pytest.approx(expected, rel=1e-4)


def test_moments_are_few_and_have_the_end():
    assert moments(("a", "a", "b")) == [(0, ""), (2, "a"), (3, "b")]
    many = moments(tuple("ab" * 50))
    assert len(many) == 7
    assert many[-1] == (100, "b")
    assert many[1] == (1, "a")


@pytest.mark.thorough
def test_no_writes_at_all_is_plasticity_off(trained, probe):
    config, params = trained
    always = dict.fromkeys(probe.layers, jnp.ones(probe.task.steps, bool))
    seed = jnp.int32(config.seed)
    silent = float(probe._score(silence, params, seed, always))
    off = probe.learner.evaluate(
        params, seed, RandomStream.TEST, jnp.arange(EPISODES), probe.hyper, on=False
    )
    assert silent == pytest.approx(float(off[probe.task.main_metric].mean()), abs=1e-6)
