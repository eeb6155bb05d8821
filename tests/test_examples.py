"""Examples run and are right; the README has the commands that CI runs, and no dead links."""

import re
import runpy

import pytest

from tests.conftest import ROOT

NETWORKS = ["plain_jax", "flax_linen", "flax_nnx", "equinox_net"]


def run(name, **options):
    """What `main` of an example returns."""
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"](**options)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_example_fits_on_a_page(name):
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 80


def test_plain_jax_recalls_with_plasticity_only():
    on, off = run("plain_jax", steps=150)
    assert on > 0.9
    assert off < 0.35


@pytest.mark.slow
def test_linen_needs_the_delta_rule_to_bind_a_key_again():
    table = run("flax_linen", steps=100)
    assert table["delta"][0] > table["hebb"][0] + 0.1
    assert table["hebb"][0] > 0.5
    assert max(off for _, off in table.values()) < 0.35


@pytest.mark.slow
def test_nnx_learns_a_function_within_an_episode():
    on, off = run("flax_nnx", steps=150)
    assert on[-1] < 0.4 * off[-1]
    assert on[0] == pytest.approx(off[0], abs=1e-4)  # nothing is written before the first answer


def test_equinox_runs_a_rule_of_ones_own():
    pytest.importorskip("equinox", reason="equinox, an extra of `dev`, is not installed")
    on, off = run("equinox_net", steps=100)
    assert on > 0.7
    assert off < 0.35


def test_the_readme_code_runs():
    """The block of library use, which has the shapes of a network of its reader's."""
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- library -->\n```python\n(.*?)```", readme, re.DOTALL).group(1)
    assert len(block.splitlines()) <= 15
    found = {}
    exec(compile(block, "README.md", "exec"), found)
    assert found["ys"].shape == (8, 50, 4)
    assert found["y"].shape == (8, 4)


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
