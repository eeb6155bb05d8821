"""Layers shared by devices: the same loss, metrics and gradients as on one; few messages."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.experiments.lowered import execution_of
from plasticity.sharding import Layout, replicate, shardings
from tests.sample import sampled

MESHES = [(1, 2), (2, 2), (1, 4)]


def check_meshes():
    """CASE: rule, engine, alpha, and further settings, SECTION.FIELD=VALUE."""
    for case in os.environ["CASE"].split(";"):
        with jax.enable_x64(True):
            check_case(*case.split())


def learner_of(rule, engine, alpha, *further):
    from tests.plasticity.test_learner import make

    model = {"width": 8, "feed_forward": 8, "heads": 2, "layers": 2, "plastic": "feed_forward,head"}
    sections = {"model": model, "rule": {"alpha": alpha}, "memory": {"engine": engine, "chunk": 2}}
    for one in further:
        name, value = one.split("=")
        section, field = name.split(".")
        value = {"True": True, "False": False}.get(value, value)
        sections.setdefault(section, {})[field] = value if value in (True, False) else typed(value)
    return make(rule, **sections)


def typed(value):
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def check_case(*case):
    from tests.plasticity.test_learner import SEED

    learner, hyper, state = learner_of(*case)
    params = jax.tree.map(jnp.float64, state.params)
    split = learner.make_network(hyper).backbone.shard_by
    found = []
    for data, model in [(1, 1), *MESHES]:
        layout = Layout(data, model)
        mesh = layout.mesh(learner.batch)
        there = jax.device_put(params, shardings(params, mesh, split))
        gradient = jax.jit(dataclasses.replace(learner, layout=layout).gradient)
        metrics, grads = gradient(there, *replicate((SEED, state.step, hyper), mesh))
        found.append(jax.device_get((metrics, grads)))
    for mesh, (metrics, grads) in zip(MESHES, found[1:], strict=True):
        for name, value in found[0][0].items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-10, atol=1e-12, err_msg=name)
        for (path, a), b in zip(
            jax.tree.leaves_with_path(found[0][1]), jax.tree.leaves(grads), strict=True
        ):
            where = f"{case} {mesh} {jax.tree_util.keystr(path)}"
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-11, err_msg=where)
