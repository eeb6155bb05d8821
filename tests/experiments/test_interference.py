"""Items that are written once: simulations agree with exact expectations."""

import itertools
import json
import math

import jax
import numpy as np
import pytest

from plasticity.experiments.probing.crosstalk import (
    KEYS,
    Spread,
    delta_error,
    false_match,
    hebb_error,
    least_squares_error,
)
from plasticity.experiments.probing.recall_errors import (
    Drawn,
    Sizes,
    expected,
    mean_and_error,
    shown,
    simulation,
)
from plasticity.experiments.probing.untrained import untrained
from tests.conftest import GOLDEN
from tests.sample import sampled

GOLD = dict(np.load(GOLDEN / "probes" / "capacity.npz"))
PAIRS = list(zip(GOLD["d"].tolist(), GOLD["N"].tolist(), strict=True))
KEEP = float(GOLD["keep"])
SPREAD = Spread(common=0.5, winners=3)
FORMULAS = {
    "hebb": lambda items, dim: hebb_error(items, 1 / dim),
    "hebb_decayed": lambda items, dim: hebb_error(items, 1 / dim, keep=KEEP),
    "delta_one_pass": delta_error,
    "least_squares": lambda items, dim: np.full(items, least_squares_error(items, dim)),
}
pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("name", FORMULAS)
def test_recorded_expectations(name):
    for (dim, items), mse in zip(PAIRS, GOLD[f"{name}/mse"], strict=True):
        by_age = FORMULAS[name](items, dim)
        recorded = GOLD[f"{name}/mse_by_age/{dim}_{items}"]
        np.testing.assert_allclose(by_age, recorded, rtol=0, atol=1e-10)
        np.testing.assert_allclose(by_age.mean(), mse, rtol=0, atol=1e-10)


def agrees(draws, right, errors=3):
    mean, error = mean_and_error(draws)
    assert abs(mean - right) < errors * error + 1e-9


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("entry", "recorded", "draws"),
    [
        ("hebb", "hebb", 100),
        (f"hebb/keep={KEEP}", "hebb_decayed", 100),
        ("delta", "delta_one_pass", 100),
        ("mesa/ridge=1e-9", "least_squares", 32),  # it solves a system for every answer
    ],
)
def test_simulations_agree_with_the_recorded_ones(entry, recorded, draws):
    """In the mean error, in that of the oldest and the newest item, and in accuracy."""
    at = PAIRS.index((32, 64))
    found = simulation(untrained(entry), Sizes(64, 32), Drawn(draws=draws))(1)
    agrees(found.mse.mean(1), GOLD[f"{recorded}/mse"][at])
    for age in (0, -1):
        agrees(found.mse[:, age], GOLD[f"{recorded}/mse_by_age/32_64"][age])
    agrees(found.accuracy.mean(1), GOLD[f"{recorded}/simulated_top1"][at])


@pytest.mark.parametrize(
    "kind", sampled(["correlated", "sparse", "positive"], lambda kind: kind == "sparse", "thorough")
)
def test_expectations_of_other_keys(kind):
    learner = untrained("hebb/rate=.5/keep=.9")
    sizes, drawn = Sizes(6, 9), Drawn(kind, SPREAD, draws=400)
    right, found = expected(learner, sizes, drawn), simulation(learner, sizes, drawn)(1)
    agrees(found.mse.mean(1), right.mean())
    for age in (0, -1):
        agrees(found.mse[:, age], right[age])


def test_no_formula_is_claimed_where_none_is_known():
    sizes, random = Sizes(4, 4), Drawn()
    for entry, drawn in (
        ("delta", random._replace(keys="sparse")),
        ("delta/rate=.5", random),
        ("hebb/normalised=true", random),
        ("hebb", random._replace(rewritten=True)),
        ("hebb", random._replace(outliers=0.5)),
        ("gated_delta", random),
    ):
        assert expected(untrained(entry), sizes, drawn) is None


@pytest.mark.parametrize(("entry", "left"), [("hebb", 1), ("delta", 0)])
def test_a_sum_keeps_the_value_that_was_replaced(entry, left):
    found = simulation(untrained(entry), Sizes(1, 4), Drawn(draws=5, rewritten=True))(0)
    np.testing.assert_allclose(found.mse, left, atol=1e-12)
    assert entry == "hebb" or found.accuracy.all()


def test_outliers_disturb_the_items_that_are_asked_for():
    items, dim, drawn = 10, 16, Drawn(draws=400, outliers=0.2)
    found = simulation(untrained("hebb"), Sizes(items, dim), drawn)(1)
    assert found.mse.shape == found.accuracy.shape == (400, 8)
    agrees(found.mse.mean(1), (7 + 2 * 10**2) / dim)


@pytest.mark.thorough
def test_a_threshold_bounds_outliers_alone():
    """One that no error of unit values exceeds: without outliers Yaad is the delta rule."""

    def found(rule, outliers):
        drawn = Drawn(draws=16, outliers=outliers)
        return simulation(untrained(rule), Sizes(20, 32), drawn)(0).mse

    np.testing.assert_allclose(found("yaad/threshold=2", 0.0), found("delta", 0.0), atol=1e-9)
    assert found("yaad/threshold=2", 0.1).mean() < 0.5 * found("delta", 0.1).mean()


@pytest.mark.parametrize("kind", KEYS)
def test_keys(kind):
    """Of unit length, with the common part that is asked for, or so many winners."""
    keys = np.asarray(KEYS[kind].draw(jax.random.key(1), 2000, 16, SPREAD))
    np.testing.assert_allclose((keys**2).sum(1), 1, atol=1e-12)
    products = (keys[::2] * keys[1::2]).sum(1)
    agrees(products**2, KEYS[kind].overlap(16, SPREAD))
    size = math.exp(math.lgamma(8) - math.lgamma(8.5)) / math.sqrt(math.pi)  # mean of an entry
    means = {"random": 0, "correlated": SPREAD.common, "sparse": SPREAD.winners / 16}
    means["positive"] = 16 * size**2
    agrees(products, means[kind])
    if kind == "sparse":
        np.testing.assert_array_equal(np.unique(keys.round(9)), [0, round(3**-0.5, 9)])
        assert ((keys > 0).sum(1) == SPREAD.winners).all()


def test_false_matches_of_all_codes():
    """Against counting: all codes with 3 of 7 entries."""
    codes = [set(code) for code in itertools.combinations(range(7), 3)]
    for overlap in range(4):
        matches = sum(len(codes[0] & code) >= overlap for code in codes)
        assert false_match(7, 3, overlap) == pytest.approx(matches / len(codes), rel=1e-12)


def test_false_matches_of_drawn_keys():
    spread, pairs = Spread(winners=5), 10_000
    keys = np.asarray(KEYS["sparse"].draw(jax.random.key(1), 2 * pairs, 24, spread))
    overlaps = ((keys[::2] > 0) & (keys[1::2] > 0)).sum(1)
    for overlap in range(1, 5):
        agrees((overlaps >= overlap).astype(float), false_match(24, 5, overlap))


def test_numbers_of_a_memory_that_diverged_are_null():
    assert shown(np.array([1 / 3, np.nan, np.inf])) == [0.333333, None, None]


def test_the_file_holds_means_and_expectations(program, tmp_path):
    out = tmp_path / "i.json"
    command = ("interference", f"--out={out}", "--rules=hebb/rate=.5", "--keys=sparse")
    code, printed, err = program(*command, "--dims=8", "--items=3", "--draws=5")
    assert code == 0, err
    content = json.loads(out.read_text())
    (sizes,) = content["sizes"]
    assert (sizes["items"], sizes["dim"], sizes["least_squares"]) == (3, 8, 0)
    assert len(sizes["false_match"]) == 5
    (cell,) = content["cells"]
    for name in ("mse_by_age", "mse_standard_error_by_age", "accuracy_by_age", "expected_by_age"):
        assert len(cell[name]) == 3
    assert cell["gates"] == {"rate": 0.5, "keep": 1}
    assert "expected" in printed
