"""Associative retrieval: what counts as right, and memories whose answers are known."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.experiments.probing.retrieval import (
    MEMORIES,
    SETTINGS,
    Retrieval,
    half_square,
    last_writes,
    recall,
)
from plasticity.rules import delta, hebb
from plasticity.types import Token
from tests.sample import sampled


@partial(jax.jit, static_argnums=0)
def told(rule, key, value, query):
    """What a memory says that was written at a rate of 1."""
    return recall(rule, Token(query=key, key=key, value=value), query)


def test_the_last_write_of_a_key_counts():
    np.testing.assert_array_equal(last_writes(jnp.array([2, 0, 2, 0, 3]), 5), [3, -1, 2, 4, -1])


def test_sequences():
    """`unique`: every key and every value once. `rewritten`: twice on average, in any order."""
    for column in Retrieval("unique", "sums", "elu", 6).sample(jax.random.key(0), 6):
        np.testing.assert_array_equal(np.sort(column), np.arange(6))
    keys, values = Retrieval("rewritten", "sums", "elu", 50).sample(jax.random.key(0), 1000)
    assert keys.shape == values.shape == (1000,)
    assert set(np.unique(keys)) == set(np.unique(values)) == set(range(50))
    assert abs(np.corrcoef(keys, values)[0, 1]) < 0.1


def test_the_loss_is_half_the_summed_square():
    assert half_square(jnp.array([0.5, 1.0, 0.0]), jnp.array([1.0, 0.0, 0.0])) == 0.625


@pytest.mark.parametrize("rule", [delta(), hebb(), hebb(normalised=True)])
def test_orthogonal_keys_are_recalled_without_training(rule):
    unit = jnp.eye(4)
    values = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    answers = told(rule, unit, values, unit)
    np.testing.assert_allclose(answers, values, rtol=1e-6)


def test_of_a_key_that_is_written_again_delta_says_the_last_value_and_a_sum_all():
    key, values = jnp.ones((2, 1)), jnp.eye(2)
    for rule, right in ((delta(), [0, 1]), (hebb(), [1, 1]), (hebb(normalised=True), [0.5, 0.5])):
        answers = told(rule, key, values, key[:1])
        np.testing.assert_allclose(answers[0], right, atol=1e-6)


def written(task, seed=0):
    """Parameters, the keys and values of a sequence, its tokens, and all queries."""
    params = task.init(jax.random.key(seed))
    steps = SETTINGS[task.setting].times * task.keys
    keys, values = task.sample(jax.random.key(seed + 1), steps)
    return params, keys, values, task.writes(params, keys, values), task.queries(params)


def test_sums_are_outer_products_over_the_sum_of_keys():
    task = Retrieval("rewritten", "sums", "elu", 5)
    _, _, values, token, queries = written(task)
    matrix = np.eye(5)[values].T @ token.key
    right = queries @ matrix.T / (queries @ token.key.sum(0))[:, None]
    found = told(MEMORIES["sums"].rule, token.key, token.value, queries)
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_keys_of_the_delta_rule_sum_to_one_and_rates_lie_between_0_and_1():
    *_, token, queries = written(Retrieval("rewritten", "delta", "dpfp1", 5))
    np.testing.assert_allclose(token.key.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(queries.sum(-1), 1, rtol=1e-5)
    assert ((token.rate > 0) & (token.rate < 1)).all()
    assert np.ptp(token.rate) > 0


@pytest.mark.thorough
@pytest.mark.parametrize("memory", sampled(MEMORIES, lambda name: name in ("sums", "delta")))
def test_the_loss_of_training_is_that_of_the_whole_memory(memory):
    """Training writes a memory of one output, evaluations one of all: same losses, all steps."""
    task = Retrieval("rewritten", memory, "dpfp1", 4)
    params, keys, values, _, _ = written(task, seed=3)
    last = np.asarray(last_writes(keys, task.keys))
    asked = last[last >= 0]
    assert len(asked) < len(keys)  # some key was written again
    loss = jax.jit(jax.vmap(task.loss, (None, None, None, 0)))
    total, queries = jax.jit(task.evaluate)(params, keys, values)
    assert queries == len(asked)
    np.testing.assert_allclose(loss(params, keys, values, asked).sum(), total, rtol=1e-5)
    first = int(np.flatnonzero(np.asarray(keys) == keys[asked[0]])[0])  # asks the same
    np.testing.assert_allclose(*loss(params, keys, values, jnp.array([first, asked[0]])), rtol=1e-6)


@pytest.mark.thorough
def test_a_run_goes_on_where_it_stopped(program, tmp_path):
    out, row = tmp_path / "capacity.json", "unique/sums/elu"
    there = {"row": row, "keys": 20, "seed": 0, "loss": 0.25}
    out.write_text(json.dumps({"launches": [{}], "steps": 1, "table": [], "cells": [there]}))
    command = ["capacity", f"--out={out}", "--keys=20", f"--rows={row}", "--seeds=2"]
    code, printed, err = program(*command, "--steps=1")
    assert code == 0, err
    assert "cells trained: 1 of 2" in printed
    content = json.loads(out.read_text())
    first, new = content["cells"]
    assert first == there
    assert (new["seed"], new["steps"]) == (1, 100)
    assert 0.3 < new["loss"] < 0.5  # untrained: .5
    (line,) = content["table"]
    assert (line["published"], line["seeds"]) == (0.0009, [0.25, new["loss"]])
    assert len(content["launches"]) == 2
    code, printed, _ = program(*command, "--steps=1")
    assert (code, json.loads(out.read_text())) == (0, content)
    assert "cells trained: 0 of 2" in printed
    code, _, err = program(*command, "--steps=200")
    assert code == 2
    assert f"--steps=200 must be 1, as in --out={out}" in err
