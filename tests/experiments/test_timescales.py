"""Time constants and autocorrelations, against processes whose time scales are known."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from plasticity.experiments.probing import time_constants
from plasticity.experiments.probing.time_scales import TIME_SCALES, time_scales_of
from plasticity.experiments.run.storage import DamagedFileError
from plasticity.experiments.run.workdir import Workdir
from plasticity.unroll import run_episodes
from tests.launching import tiny_config
from tests.networks import make_inputs, make_network, make_params

SIZES = ["--config.train.steps=6", "--config.train.warmup=2", "--config.train.batch=2"]
SIZES += ["--config.evaluate.episodes=4", "--config.evaluate.batch=4", "--config.model.hidden=4"]


def process(keep, seed=0):
    """Eight units x <- keep x + noise, of variance 1, [10, 10000, 8]: keep^lag."""
    noise = np.random.default_rng(seed).normal(size=(10, 10_500, 8))
    return np.sqrt(1 - keep**2) * scipy.signal.lfilter([1], [1, -keep], noise, axis=1)[:, 500:]


@pytest.mark.parametrize("scale", [2.0, 10.0])
def test_the_time_scale_of_an_autoregressive_process(scale):
    """No chance tail counts as a slow exponential."""
    found = [unit.time_scale for unit in time_constants.decays(process(np.exp(-1 / scale)), 30)[0]]
    assert np.median(found) == pytest.approx(scale, rel=0.04)
    assert max(found) < 3 * scale


def test_of_a_sum_of_two_processes_the_slower_is_found():
    units, _ = time_constants.decays(process(np.exp(-1 / 2), 1) + process(np.exp(-1 / 15), 2), 30)
    assert np.median([unit.time_scale for unit in units]) == pytest.approx(15, rel=0.06)
    assert np.median([unit.exponentials for unit in units]) == 2


def test_of_exact_autocorrelations_that_with_fewer_parameters_is_chosen():
    lag = np.arange(31)
    assert time_constants.decay(3 * np.exp(-lag / 7)) == pytest.approx((7, 1), rel=1e-3)
    two = 0.7 * np.exp(-lag / 2) + 0.3 * np.exp(-lag / 20)
    assert time_constants.decay(two) == pytest.approx((20, 2), rel=1e-2)
    ((none, count),), _ = time_constants.decays(np.full((2, 400, 1), 0.3), 10)
    assert (np.isnan(none), count) == (True, 0)


def test_an_autocovariance_is_the_mean_over_all_pairs_of_steps():
    activity = np.random.default_rng(0).normal(size=(2, 6, 3))
    centred = activity - activity.mean(1, keepdims=True)
    pairs = [centred[:, t] * centred[:, t + 4] for t in range(2)]
    np.testing.assert_allclose(
        time_constants.autocovariances(activity, 4)[:, 4], np.mean(pairs, axis=0)
    )


def test_a_leaky_unit_under_noise_forgets_its_leak_at_every_step():
    """Without recurrence, and far above the kink of its relu: (1 - leak)^lag."""
    network = make_network("none", backbone="leaky_rnn", model={"leak": 0.1})
    params = make_params(network)
    slow = {**params.slow["params"], "leak": jnp.full(5, jnp.log(0.1 / 0.9))}
    kernel = slow["hidden"]["kernel"] * 0
    slow |= {"hidden": {**slow["hidden"], "kernel": kernel, "bias": jnp.full(5, 100.0)}}
    params = params._replace(slow={"params": slow})
    inputs = jax.random.normal(jax.random.key(0), (10, 6000, 3))
    run = jax.jit(partial(time_constants.states_after, network))
    covariance = time_constants.autocovariances(run(params, inputs)[:, 500:], 10).mean((0, 2))
    np.testing.assert_allclose(covariance / covariance[0], 0.9 ** np.arange(11), atol=0.03)


def test_time_scales_of_a_shorter_run_are_not_those_of_its_extension(tmp_path):
    workdir = Workdir(str(tmp_path / "run"))
    workdir.path.mkdir()
    workdir.open(tiny_config(train__steps=4))
    (workdir.path / TIME_SCALES).write_text(json.dumps({"rows": [{"step": 2, "seed": 0}]}))
    metrics = {"loss": {"mean": 1.0, "ci95": 0.1, "n": 4}}
    record = {"seed": 0, "metrics": metrics, "metrics_plasticity_off": metrics}
    workdir.result.write_text(json.dumps(record))
    with pytest.raises(DamagedFileError, match=r"of step 2, and this run has 4"):
        time_scales_of(workdir)


@pytest.mark.thorough
def test_states_are_those_of_a_whole_episode():
    network = make_network("hebbian", engine="factored", backbone="leaky_rnn")
    params, inputs = make_params(network), make_inputs()[None]
    states = time_constants.states_after(network, params, inputs)
    last = run_episodes(network, params, inputs).state.past.value[:, -1]
    np.testing.assert_allclose(states[:, -1], last, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["none", "hebbian"])
def test_every_kept_checkpoint_of_a_leaky_network_is_measured(program, tmp_path, rule):
    run, out = tmp_path / "run", tmp_path / "out.json"
    start = [f"--config=n_parity:leaky_rnn/{rule}", f"--workdir={run}", *SIZES]
    assert program("launch", *start)[0] == 0
    call = ["timescales", f"--run={run}", f"--out={out}", "--episodes=2"]
    code, printed, err = program(*call, "--steps=200", "--lags=10")
    assert code == 0, err
    untrained, trained = json.loads(out.read_text())["rows"]
    assert untrained["time_constant"] == pytest.approx([2] * 4) != trained["time_constant"]
    assert trained.get("half_life", 0) > 0 or rule == "none"
    assert "time_constant_median 2" in printed
    code, _, err = program(*call, "--steps=200")
    assert code == 2
    assert "--steps=200 must be at least 300" in err


def test_a_network_without_states_and_writes_and_a_folder_without_a_run(program, tmp_path):
    run, out = tmp_path / "run", f"--out={tmp_path / 'x'}"
    code, _, err = program("timescales", f"--run={run}", out)
    assert (code, "no config.json" in err) == (2, True)
    run.mkdir()
    Workdir(str(run)).open(tiny_config(rule__name="none"))
    code, _, err = program("timescales", f"--run={run}", out)
    assert code == 2
    assert "not of model.name='transformer'" in err
