"""Synthetic gradients: what they stand for, and what trains the nets that emit them."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity.episode import scan_episode
from plasticity.learner import Hyperparameters, Learner
from plasticity.rules import synthetic
from plasticity.tasks.copying import copying
from plasticity.unroll import run_episodes
from tests.networks import OUTPUTS, make_inputs, make_network, make_params
from tests.plasticity.test_episode import assert_trees_close

HEAD = "head/columns"
SEED = jnp.zeros((), jnp.int32)


def run(network, params):
    return jax.jit(lambda p: scan_episode(network, p, make_inputs()))(params)


def exact_network(**options):
    """The same net under the gradient rule, whose projection is fixed too."""
    return make_network("gradient", rule_settings={"projection": "fixed"}, **options)


def test_emitters_that_say_the_true_error_make_the_gradient_rule(monkeypatch, x64):
    module = importlib.import_module("plasticity.rules.synthetic")
    monkeypatch.setattr(module, "emit", lambda matrices, layer: layer.credit)
    network, exact = make_network("synthetic"), exact_network()
    params = make_params(network)
    found, expected = run(network, params), run(exact, params)
    assert_trees_close(found.outputs, expected.outputs, 1e-12)
    assert_trees_close(found.writes, expected.writes, 1e-12)
    np.testing.assert_array_equal(found.auxiliary, 0)


def test_a_linear_emitter_can_say_the_error_of_the_head_exactly(x64):
    """There the true error is a matrix times post: 2 / n S^T P^T P S, S the order of the loss."""
    options = {"model": {"plastic": "head"}}
    network, exact = make_network("synthetic", **options), exact_network(**options)
    params = make_params(network)
    theta, head = params.plasticity, network.backbone.head
    order = np.eye(head)[[*range(OUTPUTS), *range(OUTPUTS + 1, head), OUTPUTS]]
    projected = np.asarray(theta.projection) @ order
    inputs = network.layers[HEAD].inputs
    matrix = np.zeros((head, inputs + head + 1))
    matrix[:, inputs:-1] = 2 / head * projected.T @ projected
    known = theta._replace(emitters={HEAD: (jnp.asarray(matrix),)})
    found = run(network, params._replace(plasticity=known))
    expected = run(exact, params)
    assert_trees_close(found.outputs, expected.outputs, 1e-10)
    assert_trees_close(found.writes, expected.writes, 1e-10)
    np.testing.assert_allclose(found.auxiliary, 0, atol=1e-24)
    assert (run(network, params).auxiliary > 1e-3).all()  # of emitters that do not know it


@pytest.mark.thorough
def test_the_auxiliary_loss_is_the_distance_to_the_true_error(x64):
    """At the first step, where the true error of a layer is the gradient of its slow bias."""
    network = make_network("synthetic", rule_settings={"auxiliary": 0.7})
    params, x = make_params(network), make_inputs(1)
    rng = np.random.default_rng(3)
    says = {n: rng.normal(size=s.outputs) for n, s in network.layers.items()}
    emitters = {
        n: (jnp.zeros((s.outputs, s.inputs + s.outputs + 1)).at[:, -1].set(says[n]),)
        for n, s in network.layers.items()
    }
    params = params._replace(plasticity=params.plasticity._replace(emitters=emitters))

    def internal(slow):
        outputs = scan_episode(network, params._replace(slow=slow), x).outputs
        first = jax.tree.map(lambda a: a[0], outputs)
        return network.rule.internal_loss(params.plasticity, first)

    block = jax.grad(internal)(params.slow)["params"]["block_0"]
    true = {f"block_0/{layer}": np.asarray(block[layer]["bias"]) for layer in ("fc1", "fc2")}
    expected = 0.7 * sum(np.mean((says[n] - true[n]) ** 2) for n in says)
    found = scan_episode(network, params, x).auxiliary
    np.testing.assert_allclose(found, [expected], rtol=1e-10)


def losses(network, params):
    """The outer loss and the auxiliary one, of two episodes."""
    inputs = jnp.stack([make_inputs(seed=1), make_inputs(seed=2)])
    trace = run_episodes(network, params, inputs)
    return jnp.stack([(trace.outputs.task**2).sum(), trace.auxiliary.mean()])


@pytest.mark.slow
def test_the_engines_agree(x64):
    found = {}
    for engine in ("dense", "factored", "chunked"):
        network = make_network("synthetic", engine=engine)
        jacobian = jax.jit(jax.jacrev(lambda p, n=network: losses(n, p)))
        params = make_params(network)
        found[engine] = losses(network, params), jacobian(params)
    for engine in ("factored", "chunked"):
        assert_trees_close(found[engine], found["dense"], 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("meta", [True, False])
def test_what_trains_the_emitters(meta, truncated, x64):
    """The auxiliary loss trains nothing but emitters, even where the meta-gradient is truncated."""
    network = make_network(
        "synthetic",
        engine="factored",
        rule_settings={"meta": meta},
        meta_gradient="truncated" if truncated else "full",
    )
    params = make_params(network)
    outer, own = (jax.jit(jax.grad(lambda p, i=i: losses(network, p)[i]))(params) for i in range(2))

    def reached(tree):
        return any(np.any(leaf) for leaf in jax.tree.leaves(tree))

    assert reached(outer.plasticity.emitters) == (meta and not truncated)
    assert reached(outer.plasticity.synapses) == (not truncated)
    assert not reached((own.slow, own.plasticity._replace(emitters=None)))


def test_the_gradient_of_the_auxiliary_loss_equals_finite_differences(x64):
    """At the first step: nothing is written yet, so that moved emitters change nothing else."""
    network, one = make_network("synthetic"), make_inputs(1)
    params = make_params(network)
    emitters = params.plasticity.emitters
    rng = np.random.default_rng(0)
    along = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), emitters)

    @jax.jit
    def value(emitters):
        theta = params.plasticity._replace(emitters=emitters)
        return scan_episode(network, params._replace(plasticity=theta), one).auxiliary.sum()

    ends = [
        value(jax.tree.map(lambda a, d, s=s: a + s * d, emitters, along)) for s in (1e-5, -1e-5)
    ]
    slope = jax.grad(value)(emitters)
    analytic = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, slope, along)))
    assert float(analytic) == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_emitters_must_be_trained_by_something():
    with pytest.raises(ValueError, match=r"rule.auxiliary=0.0 must be greater than 0 if rule.meta"):
        synthetic(auxiliary=0.0, meta=False)


@pytest.mark.thorough
def test_emitters_learn_the_true_error_of_a_network():
    """Of one that stays as it is, by the auxiliary loss alone; emitters of zeros say nothing."""
    network = make_network("synthetic", engine="factored", rule_settings={"meta": False})
    params = make_params(network)
    adam = optax.adam(1e-2)

    def own(emitters):
        theta = params.plasticity._replace(emitters=emitters)
        return losses(network, params._replace(plasticity=theta))[1]

    @jax.jit
    def trained(emitters):
        def step(state, _):
            value, grads = jax.value_and_grad(own)(state[0])
            updates, moments = adam.update(grads, state[1])
            return (optax.apply_updates(state[0], updates), moments), value

        return jax.lax.scan(step, (emitters, adam.init(emitters)), length=300)[1]

    course = trained(params.plasticity.emitters)
    nothing = own(jax.tree.map(jnp.zeros_like, params.plasticity.emitters))
    assert course[-1] < 0.2 * nothing < course[0]


@pytest.mark.slow
def test_the_learner_adds_the_auxiliary_loss():
    """Its metric is not part of the loss that it reports, but it is minimised."""
    task = copying(seq_length=2, delay=1, vocabulary=4)
    network = make_network(
        "synthetic", engine="factored", rule_settings={"meta": False}, shape=task.shape
    )
    learner = Learner(task, lambda hyper: network, 4, 40, 5, "constant")
    hyper = Hyperparameters({}, 1e-2, 0.0, 5.0)
    state = learner.init(SEED, hyper)
    arguments = (SEED, jnp.int32(0), jnp.arange(4), hyper)
    total, (metrics, _) = jax.jit(learner.loss)(state.params, *arguments)
    assert total == metrics["loss"] + metrics["auxiliary"]

    @jax.jit
    def trained(state):
        return jax.lax.scan(lambda s, _: learner.train_step(s, SEED, hyper), state, length=40)

    course = trained(state)[1]["auxiliary"]
    assert course[0] == pytest.approx(float(metrics["auxiliary"]), rel=1e-5)
    assert course[-5:].mean() < 0.5 * course[0]
