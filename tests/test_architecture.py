"""Imports point one way, files stay readable, and every default is read by something."""

import ast
import dataclasses
import re
import sys

import pytest

from plasticity.configs import base
from plasticity.experiments import build
from tests.conftest import ROOT

# A module may import from its own layer and those above it in this list.
LAYERS = [
    ["plasticity.types", "plasticity.site", "plasticity.registry", "plasticity.target"],
    ["plasticity.settings", "plasticity.program", "plasticity.randomness"],
    ["plasticity.shares"],
    ["plasticity.factory", "plasticity.commands", "plasticity.task", "plasticity.backbone"],
    ["plasticity.features", "plasticity.spectra", "plasticity.task_checks"],
    ["plasticity.steps", "plasticity.synapse", "plasticity.joint", "plasticity.sharding"],
    ["plasticity.packing", "plasticity.histories"],
    ["plasticity.walks"],
    ["plasticity.append_scan", "plasticity.data"],
    ["plasticity.spans"],
    ["plasticity.solves"],
    ["plasticity.rules", "plasticity.memory", "plasticity.tasks", "plasticity.outer"],
    ["plasticity.marks"],
    ["plasticity.chunk_reads", "plasticity.tokens"],
    ["plasticity.model"],
    ["plasticity.network"],
    ["plasticity.parallel", "plasticity.frozen", "plasticity.site_steps"],
    ["plasticity.made_tokens"],
    ["plasticity.associate", "plasticity.heads"],
    ["plasticity.memories", "plasticity.pieces"],
    ["plasticity.telemetry", "plasticity.interventions"],
    ["plasticity.episode"],
    ["plasticity.at_once"],
    ["plasticity.unroll"],
    ["plasticity.evaluation", "plasticity.batches"],
    ["plasticity.arguments", "plasticity.carried"],
    ["plasticity.plastic_layers", "plasticity.layer"],
    ["plasticity.own"],
    ["plasticity.records"],
    ["plasticity.objective"],
    ["plasticity.learner"],
    ["plasticity.checks"],
    [
        "plasticity.experiments.extend",
        "plasticity.experiments.data",
        "plasticity.experiments.trackers",
    ],
    ["plasticity.configs"],
    ["plasticity.experiments.outer_parts"],
    ["plasticity.experiments.build", "plasticity.experiments.hints"],
    ["plasticity.experiments.outer_checks"],
    ["plasticity.experiments.validate", "plasticity.experiments.unread"],
    ["plasticity.experiments.configfile"],
    ["plasticity.experiments.commandline"],
    ["plasticity.experiments.run", "plasticity.experiments.hlo"],
    [
        "plasticity.experiments.cli",
        "plasticity.experiments.probing",
        "plasticity.experiments.lowered",
        "plasticity.experiments.traces",
    ],
    ["plasticity.experiments.sweeps"],
    ["plasticity.experiments.reports"],
    ["plasticity.experiments"],
]
SOURCES = sorted(
    path for top in ("plasticity", "experiments", "configs") for path in (ROOT / top).rglob("*.py")
)


def layer(module):
    """Level and name of the entry that says most about a module."""
    found = [
        (len(name), level, name)
        for level, names in enumerate(LAYERS)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    return max(found)[1:] if found else None


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def module_name(path):
    """The one name by which a module is imported: `experiments` is in the package by a link."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] == "plasticity" else ("plasticity", *parts)
    return ".".join(inside).removesuffix(".__init__")


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_one_way(path):
    here = layer(module_name(path))
    if here is None:
        assert module_name(path) == "plasticity", f"{path} belongs to no layer"
        return
    for imported in imports(path):
        there = layer(imported)
        if there is None:
            continue
        sideways = there[0] == here[0] and there[1] != here[1]
        allowed = LAYERS[0]
        assert there[0] <= here[0], f"{path} imports {imported}, of a later layer"
        assert not sideways or there[1] in allowed, f"{path} imports {imported}, of a sibling"


@pytest.mark.parametrize(
    "path",
    sorted(
        p
        for top in ("plasticity", "experiments", "configs", "tests", "examples")
        for p in (ROOT / top).rglob("*.py")
    ),
    ids=str,
)
def test_one_module_has_one_name(path):
    """`experiments.run` and `plasticity.experiments.run` would be two modules of one file."""
    assert not {name.split(".")[0] for name in imports(path)} & {"experiments", "configs"}


def test_rules_and_memories_need_nothing_but_jax():
    for path in SOURCES:
        if module_name(path).startswith(("plasticity.rules", "plasticity.memory")):
            foreign = {name.split(".")[0] for name in imports(path)} - {"jax", "plasticity"}
            assert foreign <= sys.stdlib_module_names, path


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_files_and_functions_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 260
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 60, f"{node.name} in {path}"


def test_the_library_reads_no_config_and_no_flags():
    for path in (ROOT / "plasticity").rglob("*.py"):
        assert not {n.split(".")[0] for n in imports(path)} & {"absl", "ml_collections"}


def all_settings():
    """Every settings dataclass that a config is made of, once."""
    alternatives = [kind for kinds in base.alternatives().values() for kind in kinds.values()]
    return dict.fromkeys([*base.PARTS, *alternatives])


def test_every_setting_has_a_meaning_and_a_valid_default():
    for settings in all_settings():
        settings()  # its defaults pass its own checks
        for field in dataclasses.fields(settings):
            assert field.metadata["about"].comment, f"{settings.__name__}.{field.name}"


def test_every_setting_is_read_by_something():
    """By name, as `config.train.steps` in the programs or `s.delay` in the library."""
    settings = ROOT / "configs/training.py"  # whose settings have methods; other configs set them
    text = "\n".join(
        path.read_text() for path in SOURCES if path.parent != ROOT / "configs" or path == settings
    )
    for checks in ("validate", "outer_checks"):
        text = text.replace((ROOT / f"experiments/{checks}.py").read_text(), "")
    for settings in all_settings():
        for field in dataclasses.fields(settings):
            assert re.search(rf"\w\.{field.name}\b", text), f"nothing reads {field.name}"


def test_continuous_hyper_parameters_do_not_recompile():
    """Hyperparameters are inputs of the program: two values of each, one trace."""
    import chex
    import jax
    import jax.numpy as jnp

    from tests.plasticity.test_learner import SEED, small_config

    config = small_config()
    learner = build.make_learner(config)
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(learner.train_step, n=1))
    hyper = jax.tree.map(jnp.float32, build.make_hyperparameters(config, learner.task))
    state = jax.jit(learner.init)(SEED, hyper)
    for factor in (1.0, 0.5):
        step(state, SEED, jax.tree.map(lambda k, f=factor: k * f, hyper))
