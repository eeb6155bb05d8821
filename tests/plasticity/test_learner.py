"""The outer loop: pure streams of randomness, what decays, what a bad step leaves behind."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.checks import PlasticityError, check_meta_gradient, first_nonfinite
from plasticity.configs import copying
from plasticity.evaluation import evaluate_episodes
from plasticity.experiments import build
from plasticity.learner import RandomStream
from plasticity.telemetry import plasticity_gradients
from tests.sample import sampled

SEED = jnp.zeros((), jnp.int32)


def small_config(rule_name="hebbian", **sections):
    config = copying.get_config(rule_name)
    config.task.update({"seq_length": 2, "delay": 1, "vocabulary": 4, "loss_steps": "all"})
    config.model.update({"width": 8, "feed_forward": 8, "heads": 2, "layers": 1})
    config.train.update({"batch": 4, "warmup": 0})
    for section, values in sections.items():
        config[section].update(values)
    return config


def make(rule_name="hebbian", **sections):
    config = small_config(rule_name, **sections)
    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    # Drawn here rather than by `init`, whose many small random numbers take seconds to compile.
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(learner.init, SEED, hyper)
    state = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    params = jax.tree.map(lambda s: jnp.float32(0.3 * rng.normal(size=s.shape)), shapes.params)
    return learner, hyper, state._replace(params=params)


def leaves_equal(a, b):
    return all(
        bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_episodes_are_a_function_of_seed_stream_step_and_index():
    draw = jax.jit(make()[0].episodes)
    episode = draw(SEED, RandomStream.TRAIN, 3, jnp.arange(40)).inputs
    alone = draw(SEED, RandomStream.TRAIN, 3, jnp.array([7])).inputs
    np.testing.assert_array_equal(episode[7], alone[0])
    for other in (
        draw(SEED + 1, RandomStream.TRAIN, 3, jnp.arange(40)),
        draw(SEED, RandomStream.TEST, 3, jnp.arange(40)),
        draw(SEED, RandomStream.TRAIN, 4, jnp.arange(40)),
    ):
        assert bool((episode != other.inputs).any())


def test_initial_slow_weights_are_paired_across_rules():
    """Episodes are paired too: their key depends on seed, stream, step and index alone."""

    def initial(rule, seed=SEED):
        learner, hyper, _ = make(rule)
        return jax.jit(learner.init)(seed, hyper).params.slow

    slow = initial("none")
    for rule in ("hebbian", "gradient"):
        assert leaves_equal(slow, initial(rule))
    assert not leaves_equal(slow, initial("none", SEED + 1))


def test_training_is_deterministic_and_learns_an_easy_task():
    learner, hyper, state = make(train={"learning_rate": 1e-2, "batch": 16})
    step = jax.jit(learner.train_step)

    def run(state):
        losses = []
        for _ in range(60):
            state, metrics = step(state, SEED, hyper)
            losses.append(float(metrics["loss"]))
        return state, losses

    (end, losses), (again, _) = run(state), run(state)
    assert leaves_equal(end, again)
    assert int(end.step) == 60
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])


def test_weight_decay_pulls_on_slow_weights_only():
    learner, hyper, state = make(train={"weight_decay": 0.1, "learning_rate": 1e-2})
    optimizer = learner._optimizer(hyper)
    nothing = jax.tree.map(jnp.zeros_like, state.params)
    updates, _ = jax.jit(optimizer.update)(nothing, state.optimizer, state.params)
    assert not any(jnp.any(u) for u in jax.tree.leaves(updates.plasticity))
    kernel = state.params.slow["params"]["embed"]["kernel"]
    pulled = updates.slow["params"]["embed"]["kernel"]
    np.testing.assert_allclose(pulled, -0.1 * 1e-2 * kernel, rtol=1e-4)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    sampled(
        [("constant", [0.25, 1.0, 1.0, 1.0]), ("cosine", [0.25, 1.0, 0.5, 0.0])],
        lambda case: case[0] == "cosine",
        "thorough",
    ),
)
def test_the_learning_rate_follows_its_schedule(schedule, expected):
    learner, hyper, state = make(
        train={
            "warmup": 4,
            "steps": 104,
            "schedule": schedule,
            "learning_rate": 1.0,
            "weight_decay": 0.0,
        }
    )
    optimizer = learner._optimizer(hyper)
    grads = jax.tree.map(lambda p: jnp.full_like(p, 1e-3), state.params)

    def size_at(count):
        moved = jax.tree.map(
            lambda leaf: jnp.full_like(leaf, count) if leaf.dtype == jnp.int32 else leaf,
            state.optimizer,
        )
        # Adam's first step has the size of the learning rate; bias correction is at `count`.
        updates, _ = optimizer.update(grads, moved, state.params)
        base, _ = (
            dataclasses.replace(learner, warmup=0, schedule="constant")
            ._optimizer(hyper)
            .update(grads, moved, state.params)
        )
        return float(jax.tree.leaves(updates)[0].ravel()[0] / jax.tree.leaves(base)[0].ravel()[0])

    np.testing.assert_allclose([size_at(c) for c in (0, 4, 54, 104)], expected, atol=1e-6)


def test_targets_of_weight_zero_may_be_nan():
    """They mark what has no target; neither loss nor metrics nor the gradient becomes NaN."""
    learner, hyper, state = make("none")
    episodes = learner.episodes(SEED, RandomStream.TRAIN, 0, jnp.arange(2))
    used = jnp.broadcast_to(jnp.arange(learner.task.steps) % 2, episodes.weights.shape) == 1

    def squares(answers, episode):
        return ((answers - episode.targets) ** 2).mean(-1)

    def error(answers, episode):
        return {"error": (squares(answers, episode) * episode.weights).sum()}

    task = learner.task._replace(loss=squares, metrics=error)

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def loss(params, weights, unused):
        targets = jnp.where(used, 0.5, unused)[..., None] * jnp.ones(task.outputs)
        marked = episodes._replace(targets=targets, weights=weights)
        metrics, _ = evaluate_episodes(learner.make_network(hyper), task, params, marked, None)
        return metrics["loss"].sum(), metrics

    marked, plain = (loss(state.params, used * 1.0, unused) for unused in (jnp.nan, 0.0))
    assert leaves_equal(marked, plain)
    assert bool(jnp.isfinite(marked[0][0]))
    (hidden, _), _ = loss(state.params, jnp.ones_like(used, float), jnp.nan)
    assert bool(jnp.isnan(hidden)), "a target that counts may not be NaN unseen"


@pytest.mark.parametrize("on", [True, False])
def test_evaluation_does_not_depend_on_how_it_is_batched(on):
    learner, hyper, state = make()

    def metrics(index):
        return learner.evaluate(state.params, SEED, RandomStream.TEST, index, hyper, on)

    metrics = jax.jit(metrics)
    whole, part = metrics(jnp.arange(6)), metrics(jnp.arange(4, 6))
    for name in whole:
        np.testing.assert_allclose(whole[name][4:], part[name], rtol=1e-4, atol=1e-6)
    assert bool((whole["eta_mean"] > 0).all()) == on
    assert bool((whole["fast_norm"] > 0).all()) == on


@pytest.mark.thorough
def test_a_static_rule_beside_memory_layers():
    """It writes no plastic layer: memories then take all steps at once, whichever the engine."""
    model, seen = {"mixer": "memory", "plastic": "feed_forward"}, []
    for engine in ("factored", "dense"):
        parts = {"memory": {"engine": engine}, "site": {"rule": "delta"}}
        learner, hyper, state = make("none", model=model, **parts)
        evaluate = jax.jit(learner.evaluate, static_argnames="on")
        index, split = jnp.arange(4), RandomStream.TEST
        seen += [evaluate(state.params, SEED, split, index, hyper, on=on) for on in (True, False)]
    assert leaves_equal(seen[0], seen[2])
    assert float(seen[0]["fast_norm"].min()) > 0
    assert float(seen[0]["eta_mean"].min()) > 0
    for name in ("fast_norm", "eta_mean"):  # off
        assert float(seen[1][name].max()) == 0


def test_telemetry_equals_norms_of_written_matrices():
    from plasticity.memory import replay
    from plasticity.synapse import scaled_matrix
    from plasticity.telemetry import fast_norm, telemetry
    from plasticity.unroll import run_episodes
    from tests.networks import make_inputs, make_network, make_params

    network = make_network(rule_settings={"alpha": "per_neuron"})
    params, inputs = make_params(network), make_inputs()
    trace = jax.jit(lambda p: run_episodes(network, p, inputs[None]))(params)
    seen = telemetry(network, params, trace)
    written, last = np.zeros(len(inputs)), 0.0
    for name, writes in trace.writes.items():
        writes = jax.tree.map(lambda a: a[0], writes)
        synapse, shape = params.plasticity.synapses[name], network.backbone.shapes[name]
        weights = replay(shape, writes, lambda w, s=synapse: scaled_matrix(s, w.weight))
        keep = np.asarray(writes.keep)[:, None, None]
        before = np.concatenate([np.zeros_like(weights[:1]), weights[:-1]])
        written += ((np.asarray(weights) - keep * before) ** 2).sum((1, 2))
        last += (np.asarray(weights)[-1] ** 2).sum()
    np.testing.assert_allclose(seen["write_norm"], [np.sqrt(written).mean()], rtol=1e-4)
    np.testing.assert_allclose(fast_norm(network, params, trace), [np.sqrt(last)], rtol=1e-5)
    np.testing.assert_allclose(seen["eta_mean"], [writes.rate.mean()], rtol=1e-6)


def test_a_step_that_is_not_finite_leaves_the_state_as_it_was():
    learner, hyper, state = make(rule={"eta0": 1e30, "max_norm": 0.0})
    after, metrics = jax.jit(learner.train_step)(state, SEED, hyper)
    assert not np.isfinite(metrics["loss"]) or not np.isfinite(metrics["grad_norm"])
    assert leaves_equal(state, after)


def test_the_first_quantity_that_is_not_finite_is_named():
    learner, hyper, state = make(rule={"eta0": 1e30, "max_norm": 0.0})
    found = first_nonfinite(learner, state, SEED, hyper)
    assert found == "output task at step 1 of the episode"  # what step 0 wrote is read there
    kernel = state.params.slow["params"]["embed"]["kernel"]
    state.params.slow["params"]["embed"]["kernel"] = kernel.at[0, 0].set(jnp.nan)
    found = first_nonfinite(learner, state, SEED, hyper)
    assert found.startswith("parameter")
    assert "embed" in found


@pytest.mark.parametrize(
    ("rule", "meta_gradient"),
    sampled(
        [("hebbian", "full"), ("hebbian", "truncated"), ("gradient", "full")],
        lambda case: case[0] == "hebbian",
    ),
)
def test_plasticity_gets_a_gradient_when_it_is_learned_and_only_then(rule, meta_gradient):
    """Under `truncated` the check would fail: it catches the published flaw."""
    learner, hyper, state = make(rule, rule={"meta_gradient": meta_gradient})
    _, metrics = jax.jit(learner.train_step)(state, SEED, hyper)
    if meta_gradient == "full":
        check_meta_gradient(metrics, modulator=True)
    else:
        with pytest.raises(PlasticityError, match="alpha is exactly zero"):
            check_meta_gradient(metrics, modulator=True)


@pytest.mark.parametrize("case", ["alpha starts at 0", "the rule ignores the modulator"])
def test_alpha_can_be_learned_where_the_modulator_gets_no_gradient(case):
    later = case == "alpha starts at 0"  # the modulator learns from the second step on
    learner, hyper, state = make(rule={"modulated": later, "alpha": "per_synapse"})
    if later:
        nothing = jax.tree.map(jnp.zeros_like, state.params.plasticity)
        state = state._replace(params=state.params._replace(plasticity=nothing))
    step = jax.jit(learner.train_step)
    after, metrics = step(state, SEED, hyper)
    assert metrics["grad_modulator"] == 0
    check_meta_gradient(metrics, modulator=False)
    _, metrics = step(after, SEED, hyper)
    assert (metrics["grad_modulator"] > 0) == later


def test_a_network_need_not_name_the_weights_of_its_modulator():
    learner, hyper, state = make("hebbian")
    network = learner.make_network(hyper)
    network = network._replace(backbone=network.backbone._replace(modulator_weights=None))
    norms = plasticity_gradients(network, state.params)  # in place of gradients
    assert norms.keys() == {"grad_alpha"}
    check_meta_gradient(norms, modulator=True)


def test_the_check_distinguishes_zero_from_not_finite():
    with pytest.raises(PlasticityError, match=r"the modulator is exactly zero.*rule.eta0 so small"):
        check_meta_gradient({"grad_alpha": 1.0, "grad_modulator": 0.0}, modulator=True)
    with pytest.raises(PlasticityError, match=r"alpha is exactly zero"):
        check_meta_gradient({"grad_alpha": 0.0, "grad_modulator": 0.0}, modulator=False)
    with pytest.raises(PlasticityError, match=r"alpha is nan: the inner loop diverges"):
        check_meta_gradient({"grad_alpha": float("nan"), "grad_modulator": 1.0}, modulator=True)
    with pytest.raises(PlasticityError, match=r"the modulator is inf: the inner loop diverges"):
        check_meta_gradient({"grad_alpha": 1.0, "grad_modulator": float("inf")}, modulator=False)


@pytest.mark.slow  # by default test_own.py does so for plastic layers
@pytest.mark.parametrize(
    "net",
    [
        pytest.param({"width": 16, "feed_forward": 16, "layers": 1}, id="small"),
        pytest.param({}, id="main_job"),
    ],
)
def test_long_episodes_train_in_bounded_memory(net):
    """T = 256, hebbian, batch 8: by XLA's own account. With -s it prints the figures."""

    def temporary_megabytes(chunk):
        config = copying.get_config("hebbian")
        config.task.delay, config.train.batch = 245, 8
        config.memory.engine, config.memory.chunk = "dense", chunk
        config.model.update(net)
        learner = build.make_learner(config)
        hyper = build.make_hyperparameters(config, learner.task)
        assert learner.task.steps == 256
        state = jax.eval_shape(learner.init, SEED, hyper)
        step = jax.jit(learner.train_step, donate_argnums=0).lower(state, SEED, hyper).compile()
        return step.memory_analysis().temp_size_in_bytes / 1e6

    kept, saved = temporary_megabytes(0), temporary_megabytes(-1)
    print(f"T 256, batch 8, {net}: {kept:.1f} MB keeping every state, {saved:.1f} MB by default")
    assert saved < 0.4 * kept
