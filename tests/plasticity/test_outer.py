"""Optimizers of the outer loop, as equations and against recorded runs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity.configs.fields import choose
from plasticity.outer import OPTIMIZERS
from plasticity.outer.classp import scale_by_classp
from plasticity.outer.conditioning import condition_number, train_best_conditioned
from plasticity.outer.homeostatic import Homeostasis, homeostatic_epoch
from plasticity.outer.m3 import EPSILON, M3Settings, newton_schulz, scale_by_m3
from plasticity.outer.optimizer import chained
from plasticity.outer.refresh import Refresh, fisher_diagonal, refreshed
from tests.conftest import GOLDEN

RNG = np.random.default_rng(0)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def golden(name):
    return dict(np.load(GOLDEN / "optim" / f"{name}.npz"))


def under(trace, prefix):
    return {key.removeprefix(prefix): trace[key] for key in trace if key.startswith(prefix)}


@pytest.mark.parametrize("tag", ["p1", "p2", "p3", "adagrad"])
@pytest.mark.parametrize("form", ["paper", "released"])
def test_classp_is_the_recorded_one(tag, form, x64):
    g = golden("classp")
    rate, threshold, power = g[f"{tag}/settings"]
    optimizer = scale_by_classp(threshold, power, float(g["epsilon"]), form)
    w = (jnp.array(g["w0"][: g["cut"]]), jnp.array(g["w0"][g["cut"] :]))  # two tensors
    state, update = optimizer.init(w), jax.jit(optimizer.update)
    for step in range(int(g["steps"])):
        grad = g["A"] @ jnp.concatenate(w) - g["b"]
        direction, state = update((grad[: g["cut"]], grad[g["cut"] :]), state)
        w = jax.tree.map(lambda w, d: w - rate * d, w, direction)
        expected = g[f"{tag}/w_released" if form == "released" else f"{tag}/w"][step + 1]
        np.testing.assert_allclose(jnp.concatenate(w), expected, **CLOSE)
        if form == "paper":
            np.testing.assert_allclose(jnp.concatenate(state), g[f"{tag}/sum"][step], **CLOSE)
    assert not np.allclose(g[f"{tag}/w_released"][-1], g[f"{tag}/w"][-1])  # a real difference


def relu_net(w, x):
    hidden = jax.nn.relu(w["0.weight"] @ x + w["0.bias"])
    return jax.nn.log_softmax(w["2.weight"] @ hidden + w["2.bias"])


def test_refresh_learning_is_the_recorded_one(x64):
    g = golden("refresh")
    w, fisher, noise = under(g, "initial/"), under(g, "fisher/"), under(g, "noise/")
    settings = Refresh(g["delta"], g["noise_scale"], g["fisher_scale"])

    def log_likelihood(w, example):
        return relu_net(w, example[0])[example[1]]

    @jax.jit
    def step(w, batch, xi):
        grad = jax.grad(lambda w: -jax.vmap(log_likelihood, (None, 0))(w, batch).mean())
        w = refreshed(w, grad(w), xi, settings, fisher)
        decayed = jax.tree.map(lambda g_w, w: g_w + g["weight_decay"] * w, grad(w), w)
        return w, jax.tree.map(lambda w, d: w - g["learning_rate"] * d, w, decayed)

    for i, batch in enumerate(zip(g["inputs"], g["labels"], strict=True)):
        after, w = step(w, batch, {name: xi[i] for name, xi in noise.items()})
        for name in w:
            np.testing.assert_allclose(after[name], g[f"after_refresh/{name}"][i], **CLOSE)
            np.testing.assert_allclose(w[name], g[f"after_step/{name}"][i], **CLOSE)
    everything = (np.concatenate(g["inputs"]), np.concatenate(g["labels"]))
    new = fisher_diagonal(log_likelihood, w, everything)
    for name, expected in under(g, "fisher_after/").items():
        np.testing.assert_allclose(g["fisher_decay"] * fisher[name] + new[name], expected, **CLOSE)


def test_the_homeostatic_rate_is_the_recorded_one(x64):
    g = golden("homeostatic")

    def logits(w, x):
        h = jax.nn.elu(w["w12"] @ x + w["b12"][:, 0])
        return w["w34"] @ jax.nn.elu(w["w23"] @ h + w["b23"][:, 0]) + w["b34"][:, 0]

    def loss(w, x, label):
        return optax.softmax_cross_entropy_with_integer_labels(logits(w, x), label)

    settings = Homeostasis(g["step"], *(int(g[k]) for k in ("batch", "interval", "memory")))
    w, rates = jax.jit(
        lambda w: homeostatic_epoch(
            w,
            jnp.array(g["eta0"]),
            jnp.array(g["images"].T),
            jnp.array(g["labels"]),
            jax.grad(loss),
            lambda w, x: logits(w, x).argmax(),
            settings._replace(floor=g["floor"]),
        )
    )(under(g, "initial/"))
    np.testing.assert_allclose(rates[9::10], g["eta"], **CLOSE)
    assert len(set(g["eta"])) == 3
    for name, expected in under(g, "final/").items():
        np.testing.assert_allclose(w[name], expected, **CLOSE)


@pytest.mark.parametrize("form", ["literal", "practical"])
def test_m3_is_its_equations(form, x64):
    s = M3Settings(form=form, every=2, beta2=0.9)
    optimizer, grads = scale_by_m3(s), RNG.normal(size=(5, 3, 4))
    state, m1, v, m2, o2 = optimizer.init({"a": jnp.zeros((3, 4))}), 0.0, 0.0, 0.0, 0.0
    for t, g in enumerate(grads, 1):
        found, state = optimizer.update({"a": jnp.array(g)}, state)
        if form == "literal":
            m1, v = m1 + s.beta1 * g, v + s.beta2 * g**2
            expected = (newton_schulz(jnp.array(m1)) + s.slow_weight * o2) / (v**0.5 + EPSILON)
        else:
            m1, v = s.beta1 * m1 + (1 - s.beta1) * g, s.beta2 * v + (1 - s.beta2) * g**2
            root = (v / (1 - s.beta2**t)) ** 0.5 + EPSILON
            expected = (newton_schulz(jnp.array(m1)) + s.slow_weight * o2) / root
            expected *= s.rms / jnp.sqrt((expected**2).mean())
        np.testing.assert_allclose(found["a"], expected, **CLOSE)
        if t % 2 == 0:
            both = grads[t - 2 : t]
            m2 = m2 + s.beta3 * both.sum(0) if form == "literal" else (
                s.beta3 * m2 + (1 - s.beta3) * both.mean(0)
            )  # fmt: skip
            o2 = newton_schulz(jnp.array(m2))


def test_newton_and_schulz_bring_singular_values_near_one():
    for matrix in (RNG.normal(size=(3, 5)), RNG.normal(size=(5, 3))):
        values = np.linalg.svd(newton_schulz(jnp.array(matrix)), compute_uv=False)
        assert ((values > 0.6) & (values < 1.3)).all()
    assert not newton_schulz(jnp.zeros((2, 3))).any()


def test_only_the_best_conditioned_matrices_move():
    diagonal = {"a": 9.0, "b": 2.0, "c": 4.0, "singular": 0.0}
    params = {name: jnp.diag(jnp.array([1.0, 1 / k if k else 0])) for name, k in diagonal.items()}
    assert condition_number(params["a"]) == pytest.approx(9)
    params |= {"bias": jnp.ones(2), "free": jnp.ones(2)}

    def moved(**options):
        rest = {"among": lambda params: {name: name != "free" for name in params}}
        optimizer = train_best_conditioned(**options, **rest)
        state = jax.jit(optimizer.init)(params)
        updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), state)
        return {name for name, u in updates.items() if u.any()}

    assert moved(count=2) == {"b", "c", "free"}
    assert moved(below=3.0) == {"b", "free"}
    assert moved(count=1, below=5.0) == {"b", "free"}
    assert moved(count=9) == {"a", "b", "c", "free"}


def test_the_standard_ones_are_those_of_optax():
    """AdamW to the bit and to the structure of its state: checkpoints of earlier versions fit."""
    params = {"w": jnp.array(RNG.normal(size=(3, 4)), jnp.float32)}
    theirs = {
        "adamw": optax.adamw(lambda _: 1e-2, weight_decay=0.1, mask={"w": True}),
        "sgd": optax.chain(optax.add_decayed_weights(0.0), optax.sgd(1e-2, 0.9)),
        "muon": optax.contrib.muon(1e-2, consistent_rms=0.2),
    }
    for name, optimizer in theirs.items():
        decay = 0.1 if name == "adamw" else 0.0
        ours = chained(OPTIMIZERS[name](), lambda _: 1e-2, decay, 5.0, lambda p: {"w": True})
        whole = optax.chain(optax.clip_by_global_norm(5.0), optimizer)
        a, b = ours.init(params), whole.init(params)
        if name == "adamw":
            assert jax.tree.structure(a) == jax.tree.structure(b)
        for size in (1.0, 10.0):
            grads = jax.tree.map(lambda w, s=size: s * w, params)
            (u, a), (v, b) = ours.update(grads, a, params), whole.update(grads, b, params)
            np.testing.assert_allclose(u["w"], v["w"], rtol=0 if name == "adamw" else 1e-5)


@pytest.mark.slow
def test_two_devices_take_the_step_of_one(program_with_devices):
    program_with_devices(2, "tests.plasticity.test_outer", "check_devices")


def check_devices():
    """Episodes or layers over two devices: the same refresh, the same matrices, the same step."""
    from plasticity.experiments.build import make_hyperparameters, make_learner
    from plasticity.sharding import Layout, replicate, shardings
    from tests.plasticity.test_learner import SEED, make, small_config

    _, _, start = make("none")
    for name in OPTIMIZERS:
        config = small_config("none")
        choose(config, "optimizer", name)
        config.optimizer.update({"best": 3, "refresh": 0.01 if name == "adamw" else 0.0})
        config.train.weight_decay = 0.0
        learner = make_learner(config)
        hyper = make_hyperparameters(config, learner.task)
        split = learner.make_network(hyper).backbone.shard_by
        state = jax.device_get(jax.jit(learner.start)(start.params, hyper))
        found = []
        for layout in (Layout(1, 1), Layout(2, 1) if name == "adamw" else Layout(1, 2)):
            mesh = layout.mesh(learner.batch)
            there = jax.device_put(state, shardings(state, mesh, split))
            step = jax.jit(dataclasses.replace(learner, layout=layout).train_step)
            found.append(jax.device_get(step(there, *replicate((SEED, hyper), mesh))[0].params))
        for one, two in zip(*map(jax.tree.leaves, found), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)
