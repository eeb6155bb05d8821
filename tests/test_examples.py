"""Examples run and are right; the README has the commands that CI runs, and no dead links."""

import re
import runpy

import numpy as np

from tests.conftest import ROOT


def test_the_plain_jax_memory_recalls_every_pair():
    similarity = runpy.run_path(str(ROOT / "examples" / "plain_jax.py"))["main"]()
    np.testing.assert_allclose(similarity, 1.0, atol=1e-3)


def test_the_plain_jax_example_needs_no_flax():
    source = (ROOT / "examples" / "plain_jax.py").read_text()
    assert not re.search(r"import (flax|optax|ml_collections)|plasticity\.model", source)


def test_the_readme_has_its_two_commands():
    readme = (ROOT / "README.md").read_text()
    for marker, end in (("main job", "--workdir=runs/copying"), ("tests", "-m pytest")):
        line = re.search(rf"<!-- {marker} -->\n```sh\n(.*)\n```", readme)
        assert line, marker
        assert line.group(1).startswith("python3 -m venv .venv && ")
        assert line.group(1).endswith(end)


def test_every_relative_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_no_placeholder_is_left_in_the_documents():
    for name in ("README.md", "BUILD_NOTES.md"):
        assert not re.search(r"\b(RESULT_|NUMERICS\b|MAINJOB|TODO)", (ROOT / name).read_text()), (
            name
        )
