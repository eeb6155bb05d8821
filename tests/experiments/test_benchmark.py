"""The benchmark writes what scripts rely on, and counts what it says it counts."""

import json

import jax
import jax.numpy as jnp
import pytest

from plasticity.experiments.lowered import count_products

FIELDS = {
    "engine",
    "rule",
    "alpha",
    "meta_gradient",
    "batch",
    "steps",
    "train_episodes_per_second",
    "forward_episodes_per_second",
    "compile_seconds",
    "temp_bytes",
    "flops",
    "bytes",
    "floor_fraction",
    "device",
}
SMALL = (
    "--config.model.width=8",
    "--config.model.feed_forward=8",
    "--config.model.layers=1",
    "--config.model.heads=2",
    "--config.task.delay=2",
    "--config.train.batch=2",
)


@pytest.mark.slow
def test_records_have_the_fields_that_scripts_read(program, tmp_path):
    out = tmp_path / "bench.json"
    command = ("--config=configs/copying.py", f"--out={out}", "--repeats=1", *SMALL)
    code, shown, err = program("benchmark", "--engines=auto", *command)
    assert code == 0, err
    records = json.loads(out.read_text())
    assert [r["engine"] for r in records] == ["factored"]
    for record in records:
        assert record.keys() >= FIELDS
        assert record["train_episodes_per_second"] > 0
        assert 0 < record["floor_fraction"] < 1
    assert "train eps/s" in shown
    code, _, err = program("benchmark", "--engines=dense", *command)
    assert code == 2
    assert "exists" in err


def test_products_in_loops_count_as_often_as_they_run():
    matrix, vectors = jnp.ones((4, 3)), jnp.ones((5, 3))

    def looped(vectors):
        return jax.lax.scan(lambda c, v: (c, jax.jit(jnp.dot)(matrix, v)), 0, vectors)[1]

    assert count_products(jax.make_jaxpr(looped)(vectors).jaxpr) == 5 * 2 * 4 * 3
