"""The inner loop against a plain Python loop, and its gradients against finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.at_once import parallel_episode
from plasticity.episode import scan_episode
from plasticity.memory import ENGINES
from plasticity.rules import RULES, feed_forward, none
from plasticity.unroll import run_episode
from tests.networks import OUTPUTS, STEPS, make_inputs, make_network, make_params
from tests.oracles import plain_episode
from tests.sample import sampled

PLASTIC = [name for name in feed_forward() if not RULES[name]().static]
VARIANTS = {
    "per_neuron": {"alpha": "per_neuron"},
    "shared": {"alpha": "shared"},
    "unclipped_decay": {"decay": "unclipped", "max_norm": 0.1},
    "norm_with_biases": {"norm_biases": True, "max_norm": 0.1},
    "no_clip": {"max_norm": 0.0},
    "no_plastic_biases": {"plastic_biases": False},
    "post_activation": {"post": "activation"},
    "fixed_projection": {"projection": "fixed"},
    "hidden_units": {"hidden": 3},
}
PAIRS = [*(("dense", rule) for rule in PLASTIC), ("chunked", "gradient")]
DEEP = ("chunked", "gradient", "paper", False)
BASE = {"eta0": 1.0, "alpha_init": "uniform", "alpha_scale": 1.0}


def oracle(network, params, inputs, rule, options, truncated, window=0):
    return plain_episode(
        params.slow,
        params.plasticity,
        inputs,
        settings=RULES[rule].settings(**(BASE | options)),
        rule=rule,
        outputs=OUTPUTS,
        heads=2,
        window=window,
        truncated=truncated,
    )


def assert_trees_close(a, b, rtol):
    """Relative to each leaf's largest magnitude."""
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        x, y = np.asarray(x), np.asarray(y)
        scale = max(np.abs(y).max(initial=0), 1e-300)
        worst = np.abs(x - y).max(initial=0) / scale if np.any(y) else np.abs(x).max(initial=0)
        assert worst <= rtol, (jax.tree_util.keystr(path), worst)


@pytest.mark.parametrize(
    ("engine", "rule", "variant", "truncated"),
    [
        *sampled(
            [(engine, rule, "paper", False) for engine in ENGINES for rule in PLASTIC],
            lambda case: case[:2] in PAIRS,
            "thorough",
        ),
        *sampled(
            [("dense", rule, "paper", True) for rule in ("gradient", "hebbian")],
            lambda case: case[1] == "gradient",
        ),
        *sampled(
            [
                ("dense", "hebbian", v, False)
                for v in VARIANTS
                if v not in ("fixed_projection", "hidden_units")
            ],
            lambda case: case[2] == "unclipped_decay",
        ),
        *sampled(
            [
                ("dense", "gradient", "per_neuron", False),
                ("dense", "gradient", "fixed_projection", False),
                ("dense", "synthetic", "hidden_units", False),
            ],
            lambda case: False,
            "thorough",
        ),
    ],
)
def test_values_and_gradients_equal_the_plain_loop(engine, rule, variant, truncated, x64):
    """The oracle takes gradients of matrices; `truncated` makes each written matrix a constant.

    Seven steps in chunks of three. In one case two blocks: credit must cross attention. By default
    every rule; `test_unroll.py` compares the engines.
    """
    options = VARIANTS.get(variant, {})
    network = make_network(
        rule,
        engine=engine,
        rule_settings=options,
        model={"layers": 2 if (engine, rule, variant, truncated) == DEEP else 1},
        meta_gradient="truncated" if truncated else "full",
    )
    params, inputs = make_params(network), make_inputs(3)

    def ours(params):
        trace = run_episode(network, params, inputs)
        return (trace.outputs.task**2).sum(), trace

    def plain(params):
        answers, fast = oracle(network, params, inputs, rule, options, truncated)
        return (answers**2).sum(), (answers, fast)

    (_, trace), grads = jax.jit(jax.value_and_grad(ours, has_aux=True))(params)
    (_, (answers, fast)), expected = jax.value_and_grad(plain, has_aux=True)(params)
    assert_trees_close(trace.outputs.task, answers, 1e-10)
    for name, (weight, bias) in fast.items():
        shown = network.memory.weights(trace.state.fast[name], params.plasticity.synapses[name])
        assert_trees_close([shown.weight, shown.bias], [weight, bias], 1e-10)
    assert_trees_close(grads, expected, 1e-9)


@pytest.mark.parametrize(
    ("engine", "window"),
    [("chunked", -1), ("chunked", 2), pytest.param("dense", -1, marks=pytest.mark.slow)],
)
def test_answers_in_a_window_equal_the_plain_loop(engine, window, x64):
    """-1: every step sees itself alone."""
    model = {"layers": 2, "attention_window": window}
    network = make_network("hebbian", engine=engine, model=model)
    params, inputs = make_params(network), make_inputs()
    found = jax.jit(lambda p: run_episode(network, p, inputs).outputs.task)(params)
    expected, _ = oracle(network, params, inputs, "hebbian", {}, False, window)
    assert_trees_close(found, expected, 1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_take_the_type_of_the_parameters(engine, x64):
    network = make_network(engine=engine)
    params = jax.tree.map(lambda a: a.astype(jnp.float32), make_params(network))
    assert make_inputs().dtype == jnp.float64
    for run in (scan_episode, run_episode):
        trace = jax.eval_shape(lambda p, run=run: run(network, p, make_inputs()), params)
        assert trace.outputs.task.dtype == jnp.float32


@pytest.mark.parametrize("rule", sampled(PLASTIC, lambda rule: rule == "gradient"))
def test_full_meta_gradient_equals_finite_differences(rule, x64):
    """Alpha, beta, projection, the modulator's row and the slow weights: relative error <= 1e-5.

    Of the dense engine; the test above compares the gradients of the others with the same oracle.
    """
    network = make_network(rule)
    params, inputs = make_params(network), make_inputs()
    loss = jax.jit(
        jax.value_and_grad(lambda p: (run_episode(network, p, inputs).outputs.task ** 2).sum())
    )
    grads = loss(params)[1]
    rng = np.random.default_rng(0)

    def check(name, tree_of_directions):
        """Directional derivative along random directions that are zero outside `name`."""
        analytic = sum(
            jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), grads, tree_of_directions))
        )
        step = 1e-5
        ends = [
            loss(jax.tree.map(lambda p, d, s=s: p + s * step * d, params, tree_of_directions))[0]
            for s in (1, -1)
        ]
        numeric = (ends[0] - ends[1]) / (2 * step)
        assert analytic != 0, f"{name} gets no gradient"
        assert abs(analytic - numeric) <= 1e-5 * abs(numeric), (name, analytic, numeric)

    def directions(select):
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: (
                jnp.asarray(rng.normal(size=leaf.shape)) * select(jax.tree_util.keystr(path), leaf)
            ),
            params,
        )

    for field in (".alpha", ".beta"):
        check(field, directions(lambda p, _, field=field: float(p.endswith(field))))
    column = jnp.arange(OUTPUTS + 3) == OUTPUTS
    check("modulator", directions(lambda p, _: column if "['columns']" in p else 0.0))
    check("slow", directions(lambda p, _: float(p.startswith(".slow"))))
    if rule == "gradient":
        check("projection", directions(lambda p, _: float(p.endswith(".projection"))))


@pytest.mark.parametrize("rule", sampled(PLASTIC, lambda rule: rule == "gradient"))
def test_truncated_leaves_plasticity_without_a_gradient(rule):
    network = make_network(rule, meta_gradient="truncated")
    params, inputs = make_params(network), make_inputs()
    loss = jax.jit(jax.grad(lambda p: scan_episode(network, p, inputs).outputs.task.sum()))
    grads = loss(params)
    assert not any(jnp.any(g) for g in jax.tree.leaves(grads.plasticity))
    head = grads.slow["params"]["head"]["columns"]["kernel"]
    np.testing.assert_array_equal(head[:, OUTPUTS:], 0)
    assert jnp.any(head[:, :OUTPUTS] != 0)


@functools.cache
def value_and_gradient(chunk):
    """Of the dense engine, in float64, with states kept at the boundaries of chunks (0: all)."""
    network = make_network(chunk=chunk)

    def loss(params):
        trace = scan_episode(network, params, make_inputs())
        return (trace.outputs.task**2).sum(), trace

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(make_params(network))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", sampled([1, 3, STEPS], lambda chunk: chunk == 3))
def test_rematerialisation_changes_nothing(chunk, x64):
    """Chunks of one step, chunks that do not divide the episode, one chunk."""
    assert_trees_close(value_and_gradient(chunk), value_and_gradient(0), 1e-12)


@pytest.mark.parametrize(("position", "window"), [("none", 0), ("learned", 2), ("rotary", 2)])
def test_without_plasticity_stepping_equals_all_steps_at_once(position, window, x64):
    network = make_network("none", model={"position": position, "attention_window": window})
    params, inputs = make_params(network), make_inputs()
    stepped, at_once = (
        jax.jit(lambda p, f=f: f(network, p, inputs).outputs)(params)
        for f in (scan_episode, parallel_episode)
    )
    assert_trees_close(stepped, at_once, 1e-12)


@pytest.mark.parametrize(("rule", "loops"), [("none", False), ("hebbian", True)])
def test_the_static_baseline_does_not_step_through_time(rule, loops):
    network = make_network(rule)
    program = jax.make_jaxpr(lambda x: run_episode(network, make_params(network), x).outputs)
    assert ("scan[" in str(program(make_inputs()))) == loops


@pytest.mark.parametrize("rule", PLASTIC)
def test_plasticity_off_equals_rate_zero(rule):
    """Off is the rule `none` on the same net; a rate of zero gets there step by step."""
    network = make_network(rule, rule_settings={"eta0": 0.0})
    params, inputs = make_params(network), make_inputs()

    def outputs(run, network):
        return jax.jit(lambda p: run(network, p, inputs).outputs)(params)

    zero_rate = outputs(scan_episode, network)
    off = outputs(run_episode, network._replace(rule=none()))
    assert_trees_close(off, zero_rate, 1e-5)
    on = outputs(run_episode, make_network(rule))
    assert float(jnp.abs(on.task - off.task).max()) > 1e-3


def test_a_single_step_episode():
    network = make_network(steps=1)
    run = jax.jit(lambda p: run_episode(network, p, make_inputs(1)).outputs.task)
    found = run(make_params(network))
    assert found.shape == (1, OUTPUTS)
    assert jnp.isfinite(found).all()


def test_dropout_differs_by_key_and_step_and_vanishes_without_a_key():
    network = make_network(model={"dropout": 0.5})
    params, inputs = make_params(network), jnp.ones((STEPS, 3))
    run = jax.jit(lambda key: run_episode(network, params, inputs, key).outputs.task)
    a, b = run(jax.random.key(0)), run(jax.random.key(1))
    assert float(jnp.abs(a - b).max()) > 1e-3
    np.testing.assert_array_equal(a, run(jax.random.key(0)))
    without_key, without_dropout = (
        jax.jit(lambda p, n=n: run_episode(n, p, inputs).outputs.task)(params)
        for n in (network, make_network())
    )
    np.testing.assert_array_equal(without_key, without_dropout)


def test_queries_have_dropout_of_their_own():
    """The same dropout whether steps are taken in turn or at once, and not that of the steps.

    With the keys of the steps, as many queries as steps would lose the units that the steps lose.
    """
    network = make_network("none", model={"dropout": 0.5})
    params, inputs, queries = make_params(network), make_inputs(), make_inputs(seed=2)
    stepped, at_once = (
        jax.jit(lambda p, f=f: f(network, p, inputs, jax.random.key(0), queries).outputs.task)(
            params
        )[STEPS:]
        for f in (scan_episode, parallel_episode)
    )
    np.testing.assert_allclose(at_once, stepped, rtol=1e-5)
