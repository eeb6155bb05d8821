"""Several seeds trained in one program equal the seeds trained one by one."""

import contextlib
import io
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from plasticity.checks import PlasticityError
from plasticity.experiments.run.checkpoint import Checkpoints
from plasticity.experiments.run.clock import NAMES
from plasticity.experiments.run.evaluate import evaluate, evaluated_elsewhere, trained_state
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.storage import WorkdirError
from plasticity.experiments.run.train import train
from plasticity.experiments.run.workdir import Workdir
from tests.launching import tiny_config
from tests.plasticity.test_learner import make, small_config


def test_one_seed_is_not_mapped():
    seeds = Seeds(small_config())
    assert seeds.map(len, 0) is len
    assert seeds.array.shape == ()
    assert seeds.split({"a": jnp.ones(3)})[0]["a"].shape == (3,)


@pytest.mark.thorough
@pytest.mark.parametrize("in_turn", [pytest.param(False, marks=pytest.mark.slow), True])
def test_each_seed_trains_as_it_does_alone(in_turn):
    """Within 1e-5, because mapped products are summed in another order.

    Compared are loss and gradient norms. Weights may differ: Adam makes full steps of a gradient
    that is zero up to rounding, such as that of the keys' biases.
    """
    config = small_config()
    config.seed, config.train.num_seeds = 5, 3
    learner, hyper, start = make()
    seeds, hyper = Seeds(config, in_turn=in_turn), jax.tree.map(jnp.float32, hyper)
    together = jax.jit(seeds.map(learner.train_step, 0, 0, None))
    alone = jax.jit(learner.train_step)
    singles = [start] * 3  # episodes differ
    state = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), start)
    for _ in range(3):
        state, metrics = together(state, seeds.array, hyper)
        for i, number in enumerate(seeds.numbers):
            singles[i], own = alone(singles[i], jnp.int32(number), hyper)
            for name in ("loss", "grad_norm", "grad_alpha"):
                np.testing.assert_allclose(metrics[name][i], own[name], rtol=1e-5)
    assert len(set(metrics["loss"].tolist())) == 3


EVERY = {"log__every": 1, "evaluate__every": 0, "checkpoint__every": 2}
TWO = tiny_config(seed=7, train__num_seeds=2, train__steps=6, **EVERY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two seeds, which no test may change: (workdir, what it printed)."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert train(TWO, str(workdir)) == 0
    return workdir, printed.getvalue()


def test_a_run_of_several_seeds_reports_each(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    result = json.loads((workdir / "result.json").read_text())
    assert [record["seed"] for record in result["seeds"]] == [7, 8]
    for part in ("metrics", "metrics_plasticity_off"):
        means = [record[part]["loss"]["mean"] for record in result["seeds"]]
        assert means[0] != means[1]
        np.testing.assert_allclose(result[part]["loss"]["mean"], np.mean(means))
        assert result[part]["loss"]["n"] == 2
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert {row["seed"] for row in rows} == {7, 8}
    assert "same 2 nets" in finished[1]
    assert evaluate(TWO, str(workdir)) == 0
    written = json.loads(next(workdir.glob("evaluation-*.json")).read_text())
    assert written["seeds"] == result["seeds"]
    elsewhere = evaluated_elsewhere(Workdir(str(workdir)), {"seed": 100})
    assert elsewhere["changed"] == {"seed": 100}
    assert [record["seed"] for record in elsewhere["seeds"]] == [7, 8]  # whose networks they are
    assert elsewhere["metrics"] != written["metrics"]


def test_a_run_from_another_number_of_devices_can_be_read(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    config = json.loads((workdir / "config.json").read_text())
    config["mesh"]["data"] = 1000
    (workdir / "config.json").write_text(json.dumps(config))
    report = evaluated_elsewhere(Workdir(str(workdir)), {})
    assert report["seeds"] == json.loads((workdir / "result.json").read_text())["seeds"]
    assert report["changed"] == {}
    with pytest.raises(WorkdirError, match=r"mesh\.data"):
        train(TWO, str(workdir))


def rewind(workdir, poisoned):
    """Takes a run back to step 4, with heads so large that their gradients overflow.

    Args:
      poisoned: positions of the seeds whose heads are changed.
    """
    (workdir / "result.json").unlink()
    shutil.rmtree(workdir / "checkpoints" / "6")
    there = Workdir(str(workdir))
    state = trained_state(ConfigDict(there.load_config()), there)
    columns = state.params.slow["params"]["head"]["columns"]
    columns["kernel"] = columns["kernel"].at[jnp.array(poisoned)].multiply(1e30)
    shutil.rmtree(workdir / "checkpoints")
    checkpoints = Checkpoints(workdir / "checkpoints", 2)
    checkpoints.save(4, state, dict.fromkeys(NAMES, 1.0))
    checkpoints.close()


@pytest.mark.thorough
def test_a_seed_that_diverges_leaves_the_others_alone(finished, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    whole = json.loads((workdir / "result.json").read_text())["seeds"]
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    rewind(workdir, [0])
    assert train(TWO, str(workdir)) == 0
    said = "one seed diverged and stays as it was; the others go on: step 5, seed 7"
    assert said in capsys.readouterr().out
    first, second = json.loads((workdir / "result.json").read_text())["seeds"]
    assert first["diverged_after"] == 4
    assert second == whole[1]
    assert [line for line in lines if '"seed": 8' in line] == [
        line for line in (workdir / "metrics.jsonl").read_text().splitlines() if '"seed": 8' in line
    ]
    rewind(workdir, [0, 1])
    with pytest.raises(PlasticityError, match=r"^step 5, seed "):
        train(TWO, str(workdir))
    assert not (workdir / "result.json").exists()
