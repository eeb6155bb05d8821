"""Several seeds in one program are the seeds one by one."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import build
from experiments.seeds import Seeds
from tests.experiments.test_launch import arguments
from tests.plasticity.test_learner import small_config


def test_one_seed_is_not_mapped():
    seeds = Seeds(small_config())
    assert seeds.map(len, True) is len
    assert seeds.array.shape == ()
    assert seeds.split({"a": jnp.ones(3)})[0]["a"].shape == (3,)


@pytest.mark.parametrize("in_turn", [False, True])
def test_each_seed_trains_as_it_does_alone(in_turn):
    """Within 1e-5: sums of mapped products are taken in another order.

    Told by loss and gradient norm, for Adam makes full steps of a gradient that is zero but for
    rounding, such as that of the keys' biases.
    """
    config = small_config()
    config.seed, config.train.num_seeds = 5, 3
    seeds, learner = Seeds(config, in_turn), build.make_learner(config)
    knobs = jax.tree.map(jnp.float32, build.make_knobs(config, learner.task))
    together = jax.jit(seeds.map(learner.train_step, True, True, False))
    alone = jax.jit(learner.train_step)
    state = jax.jit(seeds.map(learner.init, True, False))(seeds.array, knobs)
    singles = seeds.split(state)
    for _ in range(3):
        state, metrics = together(state, seeds.array, knobs)
        for i, number in enumerate(seeds.numbers):
            singles[i], own = alone(singles[i], jnp.int32(number), knobs)
            for name in ("loss", "grad_norm", "grad_alpha"):
                np.testing.assert_allclose(metrics[name][i], own[name], rtol=1e-5)
    assert len(set(metrics["loss"].tolist())) == 3


def test_a_run_of_several_seeds_reports_each(program, tmp_path):
    workdir = tmp_path / "run"
    flags = ["--config.train.num_seeds=2", "--config.seed=7"]
    code, out, err = program("launch", *arguments(workdir, *flags))
    assert code == 0, err
    result = json.loads((workdir / "result.json").read_text())
    assert [record["seed"] for record in result["seeds"]] == [7, 8]
    for part in ("metrics", "metrics_plasticity_off"):
        means = [record[part]["loss"]["mean"] for record in result["seeds"]]
        assert means[0] != means[1]
        np.testing.assert_allclose(result[part]["loss"]["mean"], np.mean(means))
        assert result[part]["loss"]["n"] == 2
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert {row["seed"] for row in rows} == {7, 8}
    assert "same 2 nets" in out
    code, out, err = program("launch", *arguments(workdir, *flags), "--mode=evaluate")
    assert code == 0, err
    written = json.loads(next(workdir.glob("evaluation-*.json")).read_text())
    assert written["seeds"] == result["seeds"]
