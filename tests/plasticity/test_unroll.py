"""The fast engines against `scan_episode` with the dense memory: values and gradients."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plasticity.episode import scan_episode
from plasticity.memory import ENGINES
from plasticity.rules import RULES, feed_forward
from plasticity.types import Form, Rule, Write
from plasticity.unroll import run_episode, run_episodes
from tests.networks import INPUTS, STEPS, make_network, make_params
from tests.plasticity.test_episode import assert_trees_close
from tests.rounding import as_rounded
from tests.sample import sampled

PLASTIC = [name for name in feed_forward() if not RULES[name]().static]
FAST = [name for name in ENGINES if name != "dense"]


def per_output(rule: Rule) -> Rule:
    """A rule whose rates and keeps differ by output."""

    def write(theta, modulator, activities):
        def spread(name, w):
            gain = jax.nn.sigmoid(activities[name].post)
            return Write(w.left, w.right, w.rate * gain, w.keep * gain)

        return {
            name: spread(name, w) for name, w in rule.write(theta, modulator, activities).items()
        }

    return rule._replace(write=write, form=Form("output"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_memory_is_made_for_the_form_of_the_rule(engine):
    network = make_network("hebbian", engine=engine)
    network = network._replace(rule=per_output(network.rule))
    with pytest.raises(ValueError, match=r"memory is made for Form\(keep='scalar'.*form=rule.form"):
        jax.eval_shape(
            lambda p: run_episodes(network, p, jnp.ones((2, STEPS, INPUTS))), make_params(network)
        )


def answers(
    engine, chunk, rule, steps, wide, meta, options, model, asked=0, backbone="transformer"
):
    """Loss, final fast weights and gradients of two episodes with `asked` queries each."""
    network = make_network(
        rule,
        engine=engine,
        chunk=chunk,
        steps=steps,
        rule_settings=options,
        meta_gradient=meta,
        model=model,
        backbone=backbone,
    )
    if wide:
        wide_rule = per_output(network.rule)
        network = network._replace(rule=wide_rule, memory=ENGINES[engine](chunk, wide_rule.form))
    params = make_params(network)
    shape = (2, steps + asked, INPUTS)
    both = jax.random.normal(jax.random.key(4), shape, jnp.result_type(float))
    inputs, queries = both[:, :steps], both[:, steps:] if asked else None

    def loss(params):
        if engine == "dense":
            trace = jax.vmap(lambda x, q: scan_episode(network, params, x, None, q))(
                inputs, queries
            )
        else:
            trace = run_episodes(network, params, inputs, None, queries)
        shown = {
            name: jax.vmap(lambda b, s=s: network.memory.weights(b, s))(trace.state.fast[name])
            for name, s in params.plasticity.synapses.items()
        }
        out = trace.outputs
        total = (out.task**2).sum() + sum((w**2).sum() for w in jax.tree.leaves(shown))
        return total, (out, shown, trace.writes)

    (total, seen), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return total, seen, grads


def assert_equals_dense(
    precision, engine, size, window, asked, rule, wide, meta, layers, **options
):
    steps, chunk = size
    case = (rule, steps, wide, meta, options, {"layers": layers, "attention_window": window}, asked)
    with jax.enable_x64(precision == "float64"):
        fast, dense = answers(engine, chunk, *case), answers("dense", 0, *case)
        # Rounding grows over steps; the dense engine's error is as large in float32.
        assert_trees_close(fast, dense, 1e-10 if precision == "float64" else 1e-5)


@pytest.mark.parametrize(
    ("engine", "rule", "alpha", "decay", "size", "wide", "window", "asked"),
    [
        pytest.param(
            *("chunked", "gradient", "per_synapse", "clipped", (5, 2), True, 2, 2),
            marks=pytest.mark.slow,
        ),
        ("factored", "hebbian", "per_neuron", "unclipped", (7, 3), False, 0, 2),
        pytest.param(
            *("chunked", "hebbian", "shared", "clipped", (1, 4), True, -1, 0),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_engines_equal_the_dense_one(engine, rule, alpha, decay, size, wide, window, asked):
    """Chunks that do not divide the episode or are longer than it, rates per output, queries."""
    options = {"alpha": alpha, "decay": decay, "plastic_biases": True}
    assert_equals_dense("float64", engine, size, window, asked, rule, wide, "full", 1, **options)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    engine=st.sampled_from(FAST),
    rule=st.sampled_from(PLASTIC),
    alpha=st.sampled_from(["per_synapse", "per_neuron", "shared"]),
    decay=st.sampled_from(["clipped", "unclipped"]),
    meta=st.sampled_from(["full", "truncated"]),
    size=st.sampled_from([(1, 1), (1, 4), (2, 5), (4, 2), (5, 2), (7, 3), (7, 7), (6, 1)]),
    wide=st.booleans(),
    plastic_biases=st.booleans(),
    window=st.sampled_from([-1, 0, 2]),
    asked=st.sampled_from([0, 2]),
)
def test_every_engine_equals_the_dense_one(precision, **case):
    """Over rules, alphas, decays, meta-gradients and (T, C): T = 1, T < C, C not dividing T."""
    assert_equals_dense(precision, layers=2, **case)


@pytest.mark.parametrize(
    ("backbone", "plastic", "rule", "engine"),
    [
        *sampled(
            [
                ("lstm", "recurrent", "hebbian", "chunked"),
                ("rnn", "input,recurrent,head", "gradient", "factored"),
                ("transformer", "attention,feed_forward,head", "gradient", "chunked"),
            ],
            lambda case: case[0] == "lstm",
        ),
    ],
)
def test_every_backbone_has_the_fast_engines(backbone, plastic, rule, engine, x64):
    options = {"post": "activation", "projection": "elementwise", "norm_epsilon": 0.0}
    case = (rule, 6, False, "full", options, {"plastic": plastic}, 2, backbone)
    assert_trees_close(answers(engine, 4, *case), answers("dense", 0, *case), 1e-10)


@functools.cache
def with_dropout(engine, window):
    """Answers to two episodes of six steps, each with a key of its own, in float64."""
    steps, model = 6, {"dropout": 0.3, "attention_window": window, "layers": 2}
    network = make_network(engine=engine, chunk=2, steps=steps, model=model)
    params, keys = make_params(network), jax.random.split(jax.random.key(9), 2)
    inputs = jax.random.normal(jax.random.key(4), (2, steps, INPUTS), jnp.float64)
    if engine != "dense":
        return jax.jit(lambda p: run_episodes(network, p, inputs, keys).outputs)(params)
    episode = jax.vmap(lambda p, x, k: scan_episode(network, p, x, k).outputs, (None, 0, 0))
    return jax.jit(episode)(params, inputs, keys)


@pytest.mark.parametrize("window", [0, 2])
@pytest.mark.parametrize("engine", sampled(FAST, lambda engine: engine == "chunked"))
def test_dropout_is_the_same_in_every_engine(engine, window, x64):
    """Masks of attention, too: they go by the age of a key, wherever an engine keeps it."""
    ours = with_dropout(engine, window)
    assert_trees_close(ours, with_dropout("dense", window), 1e-10)
    assert float(jnp.abs(ours.task[0] - ours.task[1]).max()) > 0


@pytest.mark.parametrize(
    "steps", [9, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (5, 12))]
)
def test_attention_in_bands_equals_attention_with_a_mask(steps, x64):
    """Beyond twice the window, attention of all steps at once is cut in bands."""
    network = make_network("none", steps=steps, model={"layers": 2, "attention_window": 3})
    params = make_params(network)
    inputs = jax.random.normal(jax.random.key(4), (steps, INPUTS), jnp.float64)

    def run(unroll):
        return jax.jit(jax.value_and_grad(lambda p: (unroll(p).outputs.task ** 2).sum()))(params)

    by_step = run(lambda p: scan_episode(network, p, inputs))
    at_once = run(lambda p: run_episode(network, p, inputs))
    assert_trees_close(at_once, by_step, 1e-10)


@pytest.mark.slow
def test_long_episodes_stay_finite_where_every_write_erases(x64):
    """Every step halves every weight: products of keep shrink to 1e-18 and stay exact."""
    options = {"eta0": 1.0, "max_norm": 0.1, "decay": "unclipped"}
    case = ("hebbian", 60, False, "full", options, {"layers": 1})
    assert_trees_close(answers("chunked", 16, *case), answers("dense", 0, *case), 1e-9)


def temporary_megabytes(engine, chunk, steps):
    network = make_network(
        engine=engine,
        chunk=chunk,
        steps=steps,
        model={"width": 32, "feed_forward": 64, "attention_window": 4},
    )
    shapes = jax.eval_shape(lambda: make_params(network))

    def loss(params, inputs):
        return (run_episodes(network, params, inputs).outputs.task ** 2).sum()

    inputs = jax.ShapeDtypeStruct((4, steps, INPUTS), "float32")
    step = jax.jit(jax.grad(loss)).lower(shapes, inputs).compile()
    return step.memory_analysis().temp_size_in_bytes / 1e6


@pytest.mark.slow  # by default test_own.py does so for plastic layers
def test_chunks_bound_the_memory_of_training():
    """Kept are matrices at the boundaries of chunks, and rows.

    The dense engine keeps a matrix per step: at 256 steps four times as much as at 64.
    """
    dense = temporary_megabytes("dense", 0, 64)
    assert temporary_megabytes("factored", 0, 64) < 0.25 * dense
    long, short = (temporary_megabytes("chunked", 16, steps) for steps in (256, 128))
    assert long < 2.2 * short
    assert long < dense


@pytest.mark.slow  # by default test_products.py shows it for memory sites
@pytest.mark.parametrize("rule", ["hebbian", "gradient"])
def test_products_in_bfloat16_keep_sums_and_state_in_float32(rule):
    """Emulated, because a CPU multiplies in float32; -s shows the errors."""
    exact = make_network(rule, engine="factored", rule_settings={"max_norm": 1.0})
    params = make_params(exact)
    inputs = jax.random.normal(jax.random.key(4), (8, STEPS, INPUTS))

    def answers(network):
        def loss(params):
            outputs = run_episodes(network, params, inputs).outputs.task
            return (outputs**2).mean(), outputs

        return jax.value_and_grad(loss, has_aux=True)

    rounded = as_rounded(answers(exact._replace(matmul_precision="bfloat16")))
    ((_, fine), fine_grads), ((_, coarse), coarse_grads) = (
        jax.jit(f)(params) for f in (answers(exact), rounded)
    )
    assert coarse.dtype == jnp.float32

    def error(a, b):
        return float(optax.tree.norm(jax.tree.map(jnp.subtract, a, b)) / optax.tree.norm(a))

    errors = error(fine, coarse), error(fine_grads, coarse_grads)
    print(
        f"\n{rule}: products in bfloat16 change outputs by {errors[0]:.1e}, "
        f"gradients by {errors[1]:.1e}"
    )
    assert 1e-4 < errors[0] < 2e-2
    assert 1e-4 < errors[1] < 1e-1
