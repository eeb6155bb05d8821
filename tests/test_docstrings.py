"""What docstrings of the library have to say, as far as it can be held mechanically."""

import ast
import importlib
import inspect
import re

import pytest

import plasticity
from tests.conftest import ROOT
from tests.test_architecture import SOURCES, module_name

API = sorted((ROOT / "docs/api").glob("*.rst"))
DOCUMENTED = re.compile(r"^\.\. auto(?:function|class|exception):: (plasticity\.\S+)$", re.M)
# What users import. Programs and their parts print their errors.
LIBRARY = [
    path
    for path in SOURCES
    if path.is_relative_to(ROOT / "plasticity")
    or (path.stem in ("extend", "notebook", "build") and path.parent == ROOT / "experiments")
]


def exported():
    """The public names: those that `plasticity/__init__.py` imports, now or on first use."""
    tree = ast.parse((ROOT / "plasticity/__init__.py").read_text())
    names = [a.asname for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    return sorted(filter(None, [*names, *plasticity._LATER]))


def own_nodes(function):
    """The nodes of a function without those of functions and classes within it."""
    stack = list(function.body)
    while stack:
        node = stack.pop()
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            yield node
            stack += ast.iter_child_nodes(node)


def public_functions(body, prefix=""):
    for node in body:
        if isinstance(node, ast.FunctionDef) and (
            not node.name.startswith("_") or node.name == "__call__"
        ):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{prefix}{node.name}.")


def documented():
    return [name for page in API for name in DOCUMENTED.findall(page.read_text())]


def test_completion_knows_names_that_are_imported_on_first_use():
    assert {"Learner", "delta", "train"} <= {*dir(plasticity)}


def test_every_exported_name_stands_on_one_page():
    stands = documented()
    names = [f"plasticity.{name}" for name in exported()]
    assert len(names) > 50
    assert {name: stands.count(name) for name in names} == dict.fromkeys(names, 1)
    assert len(stands) == len(set(stands))


@pytest.mark.parametrize("name", documented())
def test_what_has_a_page_has_a_docstring(name):
    module, _, attribute = name.rpartition(".")
    thing = getattr(importlib.import_module(module), attribute)
    assert inspect.getdoc(thing)
    if not inspect.isclass(thing):
        return
    for field, member in vars(thing).items():
        if not field.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            function = member if inspect.isfunction(member) else member.fget
            default = function.__name__ == "<lambda>"  # of a field
            assert default or function.__doc__, f"{name}.{field}"


@pytest.mark.parametrize("path", LIBRARY, ids=module_name)
def test_a_function_that_raises_says_so(path):
    for name, function in public_functions(ast.parse(path.read_text()).body):
        raised = [n for n in own_nodes(function) if isinstance(n, ast.Raise) and n.exc is not None]
        says = re.search(r"Raises:|Raises \w+Error ", ast.get_docstring(function) or "")
        assert says or not raised, f"{name} in {path}"


def test_attributes_and_arguments_are_named_one_by_one():
    """`a, b: text` would be shown as one attribute of the type `a,`."""
    for name in documented():
        module, _, attribute = name.rpartition(".")
        text = inspect.getdoc(getattr(importlib.import_module(module), attribute))
        assert not re.search(r"^  \w+(, \w+)+: ", text, re.M), name


@pytest.mark.parametrize("path", LIBRARY, ids=module_name)
def test_what_is_returned_is_one_paragraph(path):
    """A deeper line there is an error when the pages are built."""
    for name, function in public_functions(ast.parse(path.read_text()).body):
        text = ast.get_docstring(function) or ""
        returned = re.search(r"^Returns:\n((?:  .*\n?)+)", text, re.M)
        lines = returned[1].splitlines() if returned else []
        assert not [line for line in lines if line.startswith("   ")], f"{name} in {path}"
