"""Rules, as equations. A new entry of RULES is tested by being there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plasticity.factory import Factory
from plasticity.rules import RULES, PlasticSettings, feed_forward
from plasticity.rules.settings import rate_and_keep
from plasticity.types import Activity, Form, LayerShape, Outputs, Write

SHAPES = {"a": LayerShape(3, 4), "b": LayerShape(2, 3)}
HEAD = 6
FEED_FORWARD = feed_forward()
PLASTIC = [name for name in FEED_FORWARD if not RULES[name]().static]


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
    rule = RULES[name](**options)
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)
    return rule.write(theta, jnp.asarray(modulator), draw_activities(seed, scale))


def written_norm(writes, biases=False):
    """||rate left right^T|| over all layers, in float64."""
    squares = 0.0
    for w in writes.values():
        left, right = np.float64(w.rate) * np.float64(w.left), np.float64(w.right)
        squares += (left**2).sum() * ((right**2).sum() + biases)
    return np.sqrt(squares)


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_writes_have_the_shapes_of_the_contract(name):
    writes = write(name)
    assert writes.keys() == SHAPES.keys()
    for layer, shape in SHAPES.items():
        w = writes[layer]
        assert isinstance(w, Write)
        assert w.left.shape == (shape.outputs,)
        assert w.right.shape == (shape.inputs,)
        spread = (shape.outputs,) if RULES[name]().form.keep == "output" else ()
        assert w.rate.shape == w.keep.shape == spread


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_rules_work_under_jit_and_vmap(name):
    rule = RULES[name]()
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)
    batch = jax.tree.map(lambda *a: jnp.stack(a), draw_activities(1), draw_activities(2))
    together = jax.jit(jax.vmap(rule.write, (None, 0, 0)))(theta, jnp.array([0.1, 0.2]), batch)
    alone = rule.write(theta, jnp.array(0.2), draw_activities(2))
    for layer in SHAPES:
        both = (jax.tree.leaves(writes[layer]) for writes in (together, alone))
        for a, b in zip(*both, strict=True):
            np.testing.assert_allclose(a[1], b, rtol=1e-6, atol=1e-7)  # sums in another order


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
    for w in writes.values():
        assert np.all((w.rate >= 0) & (w.rate <= 0.7 + 1e-6))
        if RULES[name]().form.keep == "output":
            continue
        unclipped = 0.7 / (1 + np.exp(-modulator))
        decayed = float(w.rate) if decay == "clipped" else unclipped
        expected = 1 - RULES[name].settings().decay_ratio * decayed
        assert float(w.keep) == pytest.approx(expected, abs=1e-6)
    assert written_norm(writes, biases) <= 0.7 * max_norm * (1 + 1e-5)


@pytest.mark.parametrize("name", PLASTIC)
def test_no_clip_means_the_full_rate_however_large_the_activity(name):
    writes = write(name, modulator=0.0, scale=100.0, eta0=0.4, max_norm=0.0)
    rate = writes["a"].rate
    assert (
        np.all(rate <= 0.2 + 1e-6)
        if RULES[name]().form.keep == "output"
        else rate == pytest.approx(0.2)
    )


@pytest.mark.parametrize("name", PLASTIC)
def test_silence_has_finite_gradients(name):
    """The norm of nothing is where naive clips give NaN."""
    rule = RULES[name]()
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)

    def total(activities):
        return sum(
            (w.rate * w.left).sum() for w in rule.write(theta, jnp.zeros(()), activities).values()
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
    rule = RULES["gradient"](projection=projection)
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
        settings_with(option)(**{option: value})


def settings_with(option):
    """The settings of a rule that has the option."""
    return next(f.settings for f in RULES.values() if f.settings.pick({option: None}))


def per_output(settings):
    """The Hebbian rule, each output with a rate and a keep of its own."""
    rule = RULES["hebbian"].make(settings)

    def write(theta, modulator, activities):
        def spread(w):
            gain = jax.nn.sigmoid(w.left)
            return w._replace(rate=w.rate * gain, keep=w.keep * gain)

        writes = rule.write(theta, modulator, activities)
        return {name: spread(w) for name, w in writes.items()}

    return rule._replace(write=write, form=Form("output"))


def test_a_rule_with_rates_per_output_passes_the_tests_of_the_registry(monkeypatch):
    monkeypatch.setitem(RULES, "per output", Factory(RULES["hebbian"].settings, per_output))
    test_writes_have_the_shapes_of_the_contract("per output")
    test_rules_work_under_jit_and_vmap("per output")
    test_rate_and_decay_stay_in_bounds(name="per output")
    test_no_clip_means_the_full_rate_however_large_the_activity("per output")
    test_silence_has_finite_gradients("per output")


def scaled_write(name, left, right, dtype, **options):
    unscaled = {"normalise_pre": False} if name == "delta" else {}
    rule = RULES[name](eta0=0.2, **unscaled, **options)
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)
    activities = {
        layer: Activity(
            jnp.full(s.inputs, right, dtype),
            *(jnp.full(s.outputs, left, dtype) for _ in ("post", "activation", "credit", "recall")),
        )
        for layer, s in SHAPES.items()
    }
    return rule.write(theta, jnp.zeros((), dtype), activities)


@pytest.mark.parametrize("name", PLASTIC)
@pytest.mark.parametrize(
    ("dtype", "left", "right"),
    [
        *(("float16", *sides) for sides in ((11, 8), (6e4, 6e4), (200, 0.01))),
        *(("bfloat16", *sides) for sides in ((11, 8), (1e15, 1e15))),
        *(("float32", *sides) for sides in ((1e5, 1e5), (1e10, 1e10), (1e20, 1e3), (1e30, 1e-20))),
    ],
)
@pytest.mark.parametrize("biases", [False, True])
def test_the_clip_holds_where_squares_overflow(name, dtype, left, right, biases):
    writes = scaled_write(name, left, right, dtype, norm_biases=biases)
    assert written_norm(writes, biases) == pytest.approx(0.1, rel=1e-2)


@pytest.mark.parametrize("name", PLASTIC)
def test_a_clip_below_what_squares_underflow_to_still_clips(name):
    writes = scaled_write(name, 1e-15, 1e-15, "float32", max_norm=1e-31, norm_epsilon=0.0)
    assert written_norm(writes) == pytest.approx(1e-32, rel=1e-4)


@pytest.mark.parametrize("name", PLASTIC)
def test_a_norm_that_no_float32_holds_makes_no_silent_zero(name):
    assert np.isnan(scaled_write(name, 1e25, 1e25, "float32")["a"].rate)


@pytest.mark.parametrize("epsilon", [0.0, 1e-8])
@pytest.mark.parametrize("biases", [False, True])
def test_scaling_changes_neither_the_clip_nor_its_gradient(epsilon, biases, x64):
    """Against the formula as it is written."""
    options = PlasticSettings(norm_epsilon=epsilon, norm_biases=biases, max_norm=0.5)
    deltas = {
        n: (jnp.asarray(a.post, float), jnp.asarray(a.pre, float))
        for n, a in draw_activities().items()
    }

    def naive(deltas):
        squares = sum((a @ a) * (b @ b + biases) for a, b in deltas.values())
        norm = jnp.sqrt(squares + epsilon) + epsilon
        return 0.2 * jax.nn.sigmoid(0.3) * jnp.minimum(1, 0.5 / norm)

    ours, plain = (
        jax.value_and_grad(f)(deltas)
        for f in (lambda d: rate_and_keep(d, jnp.asarray(0.3, float), options)[0], naive)
    )
    for a, b in zip(*map(jax.tree.leaves, (ours, plain)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("eta0", v) for v in (-1, -0.1, float("nan"), float("inf"), "0.1", None, True)),
        *(("eta0", v) for v in (np.float32(-1), jnp.float32(np.nan))),
        *(("max_norm", v) for v in (-1.0, float("nan"), float("inf"))),
        *((n, float("nan")) for n in ("alpha_scale", "norm_epsilon", "decay_ratio")),
        *(("norm_epsilon", -1e-8), ("internal_scale", float("inf"))),
    ],
)
def test_numbers_without_meaning_are_refused(option, value):
    with pytest.raises(ValueError, match=rf"rule.{option}=.* must be"):
        settings_with(option)(**{option: value})


def test_settings_may_be_traced():
    def rate(eta0, max_norm):
        return write("hebbian", eta0=eta0, max_norm=max_norm)["a"].rate

    np.testing.assert_allclose(jax.jit(rate)(0.4, 1.0), rate(0.4, 1.0), rtol=1e-6)
    assert jax.grad(rate)(0.4, 1.0) > 0
    assert PlasticSettings(eta0=0, max_norm=np.float32(2), alpha_scale=-0.5).eta0 == 0


@pytest.mark.parametrize("name", FEED_FORWARD)
@pytest.mark.parametrize(
    ("change", "modulator", "message"),
    [
        (lambda a: a, jnp.zeros(1), r"modulator has shape \(1,\), it should be \(\)"),
        (
            lambda a: a._replace(pre=a.pre[None]),
            jnp.zeros(()),
            r"pre of layer 'a' has shape \(1, 4\)",
        ),
        (lambda a: jax.tree.map(lambda v: v[None], a), jnp.zeros(()), "jax.vmap adds episodes"),
        (lambda a: a._replace(credit=a.pre), jnp.zeros(()), "credit of layer 'a'"),
    ],
)
def test_a_batch_is_refused_where_one_episode_is_meant(name, change, modulator, message):
    rule = RULES[name]()
    theta = rule.init(jax.random.key(0), SHAPES, HEAD)
    activities = {layer: change(a) for layer, a in draw_activities().items()}
    with pytest.raises(ValueError, match=message):
        rule.write(theta, modulator, activities)
