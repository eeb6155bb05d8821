"""Rules, as equations. A new entry of RULES is tested by being there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plasticity.rules import RULES, RuleSettings
from plasticity.types import Activity, LayerShape, Outputs, Write

SHAPES = {"a": LayerShape(3, 4), "b": LayerShape(2, 3)}
HEAD = 6
PLASTIC = [name for name in RULES if not RULES[name]().static]


def draw_activities(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)

    def vector(size):
        return jnp.asarray(scale * rng.normal(size=size), jnp.float32)

    return {
        name: Activity(
            vector(s.inputs),
            *(vector(s.outputs) for _ in ("post", "activation", "credit", "recall")),
        )
        for name, s in SHAPES.items()
    }


def write(name, modulator=0.3, seed=0, scale=1.0, **options):
    rule = RULES[name](RuleSettings(**options))
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)
    return rule.write(theta, jnp.asarray(modulator), draw_activities(seed, scale))


@pytest.mark.parametrize("name", RULES)
def test_writes_have_the_shapes_of_the_contract(name):
    writes = write(name)
    assert writes.keys() == SHAPES.keys()
    for layer, shape in SHAPES.items():
        w = writes[layer]
        assert isinstance(w, Write)
        assert w.left.shape == (shape.outputs,)
        assert w.right.shape == (shape.inputs,)
        spread = (shape.outputs,) if RULES[name]().per_output else ()
        assert w.rate.shape == w.keep.shape == spread


@pytest.mark.parametrize("name", RULES)
def test_rules_work_under_jit_and_vmap(name):
    rule = RULES[name]()
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)
    batch = jax.tree.map(lambda *a: jnp.stack(a), draw_activities(1), draw_activities(2))
    together = jax.jit(jax.vmap(rule.write, (None, 0, 0)))(theta, jnp.array([0.1, 0.2]), batch)
    alone = rule.write(theta, jnp.array(0.2), draw_activities(2))
    for layer in SHAPES:
        for a, b in zip(together[layer], alone[layer], strict=True):
            np.testing.assert_allclose(a[1], b, rtol=1e-6)


@pytest.mark.parametrize("name", PLASTIC)
@settings(max_examples=50, deadline=None)
@given(
    modulator=st.floats(-30, 30),
    scale=st.floats(0, 1e3),
    max_norm=st.floats(0.01, 10),
    biases=st.booleans(),
    decay=st.sampled_from(["clipped", "unclipped"]),
)
def test_rate_and_decay_stay_in_bounds(name, modulator, scale, max_norm, biases, decay):
    """0 <= rate <= eta0; the write, alpha aside, is no longer than eta0 * max_norm."""
    writes = write(
        name, modulator, scale=scale, eta0=0.7, max_norm=max_norm, norm_biases=biases, decay=decay
    )
    rate = float(writes["a"].rate)
    assert 0 <= rate <= 0.7 + 1e-6
    norm = np.sqrt(
        sum(
            float((w.left**2).sum()) * (float((w.right**2).sum()) + biases) for w in writes.values()
        )
    )
    assert rate * norm <= 0.7 * max_norm * (1 + 1e-5)
    unclipped = 0.7 / (1 + np.exp(-modulator))
    expected = 1 - (rate if decay == "clipped" else unclipped)
    assert float(writes["a"].keep) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", PLASTIC)
def test_no_clip_means_the_full_rate_however_large_the_activity(name):
    writes = write(name, modulator=0.0, scale=100.0, eta0=0.4, max_norm=0.0)
    assert float(writes["a"].rate) == pytest.approx(0.2)


@pytest.mark.parametrize("name", PLASTIC)
def test_silence_has_finite_gradients(name):
    """The norm of nothing is where naive clips give NaN."""
    rule = RULES[name]()
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)

    def total(activities):
        return sum(
            w.rate * w.left.sum() for w in rule.write(theta, jnp.zeros(()), activities).values()
        )

    silent = jax.tree.map(jnp.zeros_like, draw_activities())
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(jax.grad(total)(silent)))


def test_hebbian_pairs_post_with_pre():
    activity = draw_activities()["a"]
    linear = write("hebbian")["a"]
    np.testing.assert_array_equal(linear.left, activity.post)
    np.testing.assert_array_equal(linear.right, activity.pre)
    after = write("hebbian", post="activation")["a"]
    np.testing.assert_array_equal(after.left, activity.activation)


def test_gradient_pairs_credit_with_pre():
    activity = draw_activities()["a"]
    w = write("gradient")["a"]
    np.testing.assert_array_equal(w.left, activity.credit)
    np.testing.assert_array_equal(w.right, activity.pre)


def test_internal_loss_is_the_mean_square_of_the_projected_head():
    rule = RULES["gradient"]()
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)
    outputs = Outputs(jnp.array([1.0, 2.0, 3.0]), jnp.array(4.0), jnp.array([5.0, 6.0]))
    expected = np.mean((np.asarray(theta.projection) @ np.array([1, 2, 3, 5, 6, 4.0])) ** 2)
    assert float(rule.internal_loss(theta, outputs)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("projection", "learns"), [("trained", True), ("fixed", False)])
def test_the_projection_learns_only_if_asked_to(projection, learns):
    rule = RULES["gradient"](RuleSettings(projection=projection))
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)
    outputs = Outputs(jnp.ones(3), jnp.ones(()), jnp.ones(2))
    grad = jax.grad(lambda t: rule.internal_loss(t, outputs))(theta).projection
    assert bool(jnp.any(grad != 0)) == learns


def test_none_writes_nothing_and_has_nothing_to_learn():
    for w in write("none").values():
        assert float(w.rate) == 0
        assert float(w.keep) == 1
    assert not jax.tree.leaves(RULES["none"]().init(jax.random.key(0), SHAPES, HEAD))


@pytest.mark.parametrize(
    ("option", "value", "nearest"),
    [
        ("alpha", "per_synaps", "per_synapse"),
        ("alpha_init", "unifrm", "uniform"),
        ("decay", "unclip", "unclipped"),
        ("post", "activations", "activation"),
        ("projection", "fix", "fixed"),
    ],
)
def test_unknown_variants_are_refused_with_the_nearest(option, value, nearest):
    with pytest.raises(ValueError, match=rf"rule.{option}='{value}' .*did you mean '{nearest}'"):
        RuleSettings(**{option: value})
