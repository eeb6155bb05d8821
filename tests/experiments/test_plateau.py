"""The diagnosis of plateaus, against closed forms and a dense Hessian."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from plasticity.configs import fast_mapping
from plasticity.experiments import build
from plasticity.experiments.probing.plateau import Diagnosis
from plasticity.experiments.run.train import train
from plasticity.experiments.run.workdir import Workdir
from tests.launching import tiny_config

SEED = jnp.int32(0)


def diagnosis_of(**fields):
    config = tiny_config(**fields)
    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    return Diagnosis(learner, hyper, 3), jax.jit(learner.init)(SEED, hyper).params, learner


@pytest.mark.thorough
def test_retention_of_a_constant_rate():
    """Without modulator and clip eta is eta0 / 2, and so much is kept at every step."""
    fields = {"rule__modulated": False, "rule__max_norm": 0.0, "rule__decay_ratio": 0.5}
    diagnosis, params, learner = diagnosis_of(rule__eta0=0.4, **fields)
    found = diagnosis.measure(params, SEED)
    keep, steps = 1 - 0.5 * 0.2, learner.task.steps
    after = keep ** np.arange(steps - 1, steps - 3, -1)  # of the two symbols that are shown
    assert found["retention"] == pytest.approx(after.mean(), rel=1e-5)
    assert found["half_life"] == pytest.approx(np.log(0.5) / np.log(keep), rel=1e-4)
    assert found["eta"] == pytest.approx(0.2, rel=1e-5)
    assert 0 < found["grad_through_writes"] < 2
    assert found["gate_shut"] == found["gate_open"] == 0


@pytest.mark.thorough
def test_episodes_of_training_may_have_another_length():
    config = fast_mapping.get_config("gradient")
    config.train.batch = 2
    learner = build.make_learner(config)
    assert learner.task.trained_on.steps < learner.task.steps
    hyper = build.make_hyperparameters(config, learner.task)
    params = jax.eval_shape(learner.init, SEED, hyper).params
    assert "retention" in jax.eval_shape(Diagnosis(learner, hyper, 2)._measured, params, SEED)


@pytest.mark.slow
def test_eigenvalues_are_those_of_the_dense_hessian():
    diagnosis, params, _ = diagnosis_of(model__auxiliary=0, task__delay=0)
    flat, shape = ravel_pytree(params)

    def row(along):
        return ravel_pytree(diagnosis._hessian_product(params, SEED, shape(along)))[0]

    hessian = np.asarray(jax.jit(jax.lax.map, static_argnums=0)(row, jnp.eye(flat.size)))
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-4)
    exact = np.linalg.eigvalsh(hessian)
    found = diagnosis.eigenvalues(params, SEED, 4)
    np.testing.assert_allclose(found, [*exact[:2], *exact[-2:]], atol=2e-2 * abs(exact).max())


@pytest.mark.slow
def test_every_kept_checkpoint_is_measured(program, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out.json"
    kept = {"checkpoint__every": 3, "checkpoint__keep": 9, "evaluate__every": 0}
    assert train(tiny_config(train__steps=6, **kept), str(run)) == 0
    code, printed, err = program("plateau", f"--run={run}", f"--out={out}", "--episodes=2")
    assert code == 0, err
    rows = json.loads(out.read_text())["rows"]
    assert [row["step"] for row in rows] == [0, 3, 6]
    assert "step 3, seed 0: loss" in printed
    code, _, err = program("plateau", f"--run={run}", f"--out={out}")
    assert code == 2
    assert "out.json" in err


def test_a_static_network_has_no_plateau_of_writes(program, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    Workdir(str(run)).open(tiny_config(rule__name="none"))
    code, _, err = program("plateau", f"--run={run}", f"--out={tmp_path / 'x'}")
    assert code == 2
    assert "rule.name='none' writes nothing" in err
