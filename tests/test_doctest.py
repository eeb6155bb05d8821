"""The examples in docstrings, which the API reference shows, say what the code does."""

import doctest
import importlib

import pytest

from plasticity.experiments import extend
from tests.test_architecture import SOURCES, module_name

MODULES = [module_name(path) for path in SOURCES if ">>> " in path.read_text()]
TRAINS = "plasticity.experiments.notebook"  # a run of its own


@pytest.fixture
def _registries_stay():
    """What an example registers is gone afterwards."""
    before = {section: dict(registry) for section, registry in extend.REGISTRIES.items()}
    yield
    for section, registry in extend.REGISTRIES.items():
        registry.clear()
        registry.update(before[section])


@pytest.mark.parametrize(
    "name", [pytest.param(m, marks=[pytest.mark.slow] if m == TRAINS else []) for m in MODULES]
)
@pytest.mark.usefixtures("_registries_stay")
def test_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed, f"python -m doctest says more: {name}"


def test_there_are_examples():
    assert {"plasticity.own", "plasticity.associate", "plasticity.layer", TRAINS} <= {*MODULES}
