"""Conditioning: the delta rule is the model of Rescorla and Wagner, and what other rules show."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.experiments.probing.designs import (
    DESIGNS,
    EFFECTS,
    Design,
    course,
    courses,
    verdict,
)
from plasticity.experiments.probing.untrained import untrained
from plasticity.experiments.validate import ConfigError
from tests.conftest import GOLDEN

RATE = 0.4
GOLD = dict(np.load(GOLDEN / "probes" / "conditioning_rw.npz"))
RECORDED = [name for name in DESIGNS if f"{name}/rw" in GOLD]
pytestmark = pytest.mark.usefixtures("x64")


def found_by(entry, rate=RATE):
    return courses(untrained(entry, rate=rate), DESIGNS)


def effects(found):
    return {name: verdict(effect, found) for name, effect in EFFECTS.items()}


def shown(found):
    return {name for name, verdict in effects(found).items() if verdict.shows}


@pytest.fixture(scope="module")
def rescorla_wagner():
    with jax.enable_x64(True):
        return found_by("delta")


def test_the_designs_are_the_recorded_ones():
    assert len(RECORDED) == 8
    for name in RECORDED:
        for field, ours in (("cs", "present"), ("us", "reinforced"), ("alpha", "saliences")):
            np.testing.assert_array_equal(getattr(DESIGNS[name], ours), GOLD[f"{name}/{field}"])


@pytest.mark.parametrize(("entry", "recorded"), [("delta", "rw"), ("hebb", "hebb")])
def test_recorded_courses(entry, recorded):
    found = found_by(entry, float(GOLD["beta_present"]))
    for name in RECORDED:
        np.testing.assert_allclose(found[name], GOLD[f"{name}/{recorded}"], rtol=0, atol=1e-10)


def test_closed_forms(rescorla_wagner):
    found = {name: values.T for name, values in rescorla_wagner.items()}  # [cues, trials + 1]
    n, e = np.arange(21), RATE * 0.5
    learned, together = 1 - (1 - e) ** n, (1 - (1 - 2 * e) ** n) / 2
    s = RATE * (0.5 + 0.2)
    last = learned[-1]
    for ours, right in (
        (found["acquisition"][0], learned),
        (found["extinction"][0, 20:], last * (1 - e) ** n),
        (found["extinction_control"][0, 20:], np.full(21, last)),
        (found["overshadowing"], np.outer([0.5, 0.2, 0], 1 - (1 - s) ** n) / 0.7),
        (found["blocking"][1, 20:], (1 - e) ** 20 * together),
        (found["blocking_control"][1, 20:], together),
        (found["overexpectation_control"][0, -1], 1 - (1 - e) ** 50),
    ):
        np.testing.assert_allclose(ours, right, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["conditioned_inhibition"][:2, -1], [1, -1], atol=1e-3)
    np.testing.assert_allclose(found["overexpectation"][:2, -1], 0.5, atol=1e-4)


def test_verdicts_of_rescorla_and_wagner(rescorla_wagner):
    assert shown(rescorla_wagner) == set(EFFECTS)
    blocking = effects(rescorla_wagner)["blocking"]
    assert blocking.measure == pytest.approx(1 - 0.8**20, abs=1e-12)
    assert blocking.test < 0.01 < 0.49 < blocking.control


def test_sums_show_none_even_if_they_forget():
    """With a keep, V falls without trials of the cue; the control design tells this apart."""
    found = found_by("hebb/keep=.95")
    assert found["extinction"][-1, 0] < 0.5 * found["extinction"][20, 0]
    assert effects(found)["extinction"].measure == pytest.approx(0, abs=1e-12)
    assert not shown(found)


def test_a_diagonal_longhorn_lets_no_cue_speak_for_another():
    """Its error is that of each cue alone, so there is nothing for cues to compete for."""
    exact, diagonal = (shown(found_by(f"longhorn/form={form}")) for form in ("exact", "diagonal"))
    assert exact == set(EFFECTS)
    assert diagonal == {"acquisition", "extinction"}


def test_a_regression_weighs_all_trials_alike():
    """MesaNet with a small ridge: as many trials with as without reinforcement leave one half."""
    found = found_by("mesa/ridge=1e-6")
    assert found["extinction"][-1, 0] == pytest.approx(0.5, abs=1e-5)
    assert found["blocking"][-1, 1] == pytest.approx(0, abs=1e-5)


def test_a_frozen_rule_takes_the_error_at_the_first_trial_of_its_stretch():
    learner = untrained("titans/frozen=3", rate=RATE)
    keys, values = np.full((5, 1), 0.5), np.ones((5, 1))
    answers = np.asarray(course(learner, keys, values, np.ones((1, 1))))[:, 0, 0]
    step = RATE * 0.5
    right = [0, step, 2 * step, 3 * step]
    right += [3 * step + n * step * (1 - 0.5 * 3 * step) for n in (1, 2)]
    np.testing.assert_allclose(answers, right, atol=1e-12)


def test_a_design_is_data():
    design = Design((("A+ B-", 2), ("ABC+", 1)), {"C": 0.1})
    assert design.trials == ["A+", "B-", "A+", "B-", "ABC+"]
    np.testing.assert_array_equal(design.present[[1, 4]], [[0, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(design.reinforced, [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(design.saliences, [0.5, 0.5, 0.1])


@pytest.mark.parametrize("entry", ["rwkv7", "comba", "titans"])
def test_gates_that_are_not_named_do_nothing(entry):
    """Then such a rule is the delta rule."""
    keys, values = jnp.eye(3)[jnp.array([0, 1, 0])] + 0.2, jnp.array([[1.0], [0.5], [0.25]])

    def answers(learner):
        return jax.jit(lambda k, v: learner.asked(learner.written(k, v), k, 1))(keys, values)

    ours, right = (answers(untrained(name, rate=RATE)) for name in (entry, "delta"))
    np.testing.assert_allclose(ours, right, atol=1e-12)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("oja", "oja reads no values"),
        ("srwm", "srwm reads no values"),
        ("none", "none never writes"),
        ("gradient", "gradient has no memory site"),
        ("memora", "memora has no empty memory"),
        ("titans/memory=mlp", "titans/memory=mlp has no empty memory"),
        ("hebb/momentum=.5", "'momentum' is unknown: valid: keep"),
        ("delta/eta0=1", "'eta0' is unknown"),
    ],
)
def test_a_rule_that_cannot_be_probed_is_refused_by_name(entry, says):
    with pytest.raises(ConfigError, match=says):
        untrained(entry)


def test_the_file_holds_courses_and_verdicts(program, tmp_path):
    out = tmp_path / "c.json"
    code, printed, err = program("conditioning", f"--out={out}", "--rules=delta/rate=.2")
    assert code == 0, err
    content = json.loads(out.read_text())
    assert "blocking yes" in printed
    record = content["rules"]["delta/rate=.2"]
    assert record["gates"] == {"rate": 0.2}
    assert record["effects"]["blocking"]["shows"]
    assert record["V"]["acquisition"][1] == [pytest.approx(0.1), 0, 0]
