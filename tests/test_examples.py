"""Examples run and are right."""

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


@pytest.mark.thorough
def test_equinox_runs_a_rule_of_ones_own():
    pytest.importorskip("equinox", reason="equinox, an extra of `dev`, is not installed")
    on, off = run("equinox_net", steps=100)
    assert on > 0.7
    assert off < 0.35
