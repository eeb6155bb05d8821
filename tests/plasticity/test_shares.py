"""Layers shared by devices: the same loss, metrics and gradients as on one; few messages."""

import ast
import contextlib
import dataclasses
import itertools
import os
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.experiments.lowered import execution_of
from plasticity.memory import ENGINES
from plasticity.network import Parameters
from plasticity.rules import hebbian
from plasticity.sharding import Layout, replicate, shardings
from plasticity.shares import MODEL, Share, reads_of
from plasticity.telemetry import modulation
from plasticity.types import Form, LayerShape, Write
from plasticity.unroll import run_episodes
from tests.networks import make_inputs, make_network, make_params
from tests.sample import sampled

LAYERS = 2
# Collectives of a step of the episode, forward and backward. Forward, a sum for each fc2 and one
# message for all writes; backward, a sum for each fc1 and one for all writes. The credit of the
# gradient rule needs a sum for each fc1 but the first, and its adjoint one for each fc2. Attention
# needs as many as a net of two layers; that of the first block is computed before the steps.
ATTENDING = LAYERS - 1
PER_STEP = dict.fromkeys(("hebbian", "delta"), 2 * LAYERS + 2 + 2 * ATTENDING)
PER_STEP |= {"gradient": 4 * LAYERS + 1 + 4 * ATTENDING}
# Outside of the steps: the attention of the first block, twice; the kernels of attention, there and
# back; whole coefficients and biases; and measures.
ONCE = 2 + 2 * LAYERS + 2
MESHES = [(2, 2), (1, 2), (1, 4)]
GRID = itertools.product(PER_STEP, ("factored", "chunked", "dense"), ("per_neuron", "per_synapse"))
SHARED = [(rule, "factored", "shared") for rule in PER_STEP]
FURTHER = [
    "hebbian factored per_synapse rule.norm_biases=True",
    "hebbian factored per_neuron rule.post=activation rule.decay=unclipped",
    "gradient chunked per_neuron model.plastic=feed_forward,attention,head",
    "gradient factored per_neuron model.plastic=head",
    "hebbian dense per_neuron rule.meta_gradient=truncated",
    "hebbian factored per_neuron rule.plastic_biases=False train.microbatch=1",
    "delta chunked per_neuron model.mixer=gate site.rule=titans",
    "none dense per_neuron model.mixer=memory site.rule=gated_delta",
    "none dense per_neuron",
    "hebbian factored per_neuron model.position=rotary model.layers=3",
    "hebbian chunked per_neuron model.position=learned model.attention_window=2",
    "gradient factored per_neuron model.position=rotary model.attention_window=2",
    "hebbian dense per_synapse model.attention_window=-1",
    "hebbian chunked per_neuron model.dropout=0.5 train.microbatch=1",
    "none dense per_neuron model.dropout=0.5 model.position=rotary model.attention_window=1",
]
CASES = [" ".join(case) for case in (*GRID, *SHARED)] + FURTHER


@pytest.mark.thorough
@pytest.mark.parametrize("case", sampled(CASES, lambda case: case == "gradient dense per_neuron"))
def test_devices_that_share_layers_find_the_gradient_of_one(
    program_with_devices, request, case, monkeypatch
):
    monkeypatch.setenv("CASE", case)
    slow = request.node.get_closest_marker("slow") is not None
    monkeypatch.setenv("MESHES", str(len(MESHES) if slow else 1))
    program_with_devices(4, "tests.plasticity.test_shares", "check_gradients")


def learner_of(rule, engine, alpha, *further):
    """A learner with two blocks, dropout, and a clip of writes that is active.

    further: settings as section.field=value.
    """
    from tests.plasticity.test_learner import make

    model = {"width": 8, "feed_forward": 8, "heads": 4, "layers": LAYERS}
    sections = {"model": model, "memory": {"engine": engine, "chunk": 2}, "rule": {}}
    if rule != "none":
        sections["rule"] = {"alpha": alpha, "max_norm": 0.01 if rule == "gradient" else 0.1}
    for one in further:
        name, value = one.split("=")
        section, field = name.split(".")
        with contextlib.suppress(ValueError):  # a name
            value = ast.literal_eval(value)
        sections.setdefault(section, {})[field] = value
    return make(rule, **sections)


def check_gradients():
    """CASE: rule, engine, alpha, and further settings; in float64, on the first of MESHES."""
    from tests.plasticity.test_learner import SEED

    case = os.environ["CASE"].split()
    with jax.enable_x64(True):
        learner, hyper, state = learner_of(*case)
        params = jax.tree.map(jnp.float64, state.params)
        network = learner.make_network(hyper)
        assert network.part(2) is not None
        found = []
        for data, model in [(1, 1), *MESHES[: int(os.environ["MESHES"])]]:
            layout = Layout(data, model)
            mesh = layout.mesh(learner.batch)
            where = shardings(params, mesh, network.backbone.shard_by)
            gradient = jax.jit(dataclasses.replace(learner, layout=layout).gradient)
            arguments = replicate((SEED, state.step, hyper), mesh)
            found.append(gradient(jax.device_put(params, where), *arguments))
            for grad, placed in zip(*map(jax.tree.leaves, (found[-1][1], where)), strict=True):
                assert grad.sharding.is_equivalent_to(placed, grad.ndim)
    one, *others = jax.device_get(found)
    if case[0] != "none" and not network.sites:  # whose rates are not clipped
        assert 0 < one[0][0]["eta_mean"] < 0.05, "no write was clipped"
    for other in others:
        for (path, a), b in zip(
            jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True
        ):
            name = jax.tree_util.keystr(path)
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.slow  # by default one block, in test_sharding
@pytest.mark.parametrize("rule", PER_STEP)
def test_a_step_sends_few_messages(program_with_devices, rule, monkeypatch):
    monkeypatch.setenv("CASE", rule)
    program_with_devices(2, "tests.plasticity.test_shares", "check_messages")


def check_messages():
    from tests.plasticity.test_learner import SEED

    rule = os.environ["CASE"]
    learner, hyper, state = learner_of(rule, "factored", "per_neuron")
    learner = dataclasses.replace(learner, layout=Layout(1, 2))
    mesh = learner.layout.mesh(learner.batch)
    split = learner.make_network(hyper).backbone.shard_by
    there = jax.device_put(state, shardings(state, mesh, split))
    step = jax.jit(learner.gradient)
    compiled = step.lower(there.params, *replicate((SEED, state.step, hyper), mesh)).compile()
    execution = execution_of(compiled.as_text())
    steps = learner.task.trained_on.steps
    assert sum(execution.in_loops.values()) == PER_STEP[rule] * steps, execution
    assert sum(execution.once.values()) <= ONCE, execution


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["none", "hebbian"])
def test_pieces_and_queries_of_a_shared_network(program_with_devices, rule, monkeypatch):
    monkeypatch.setenv("CASE", rule)
    program_with_devices(2, "tests.plasticity.test_shares", "check_pieces")


def check_pieces():
    """An episode in two pieces, with queries and dropout: outputs and gradient, in float64."""
    with jax.enable_x64(True):
        model = {"layers": LAYERS, "dropout": 0.5, "attention_window": 2, "position": "rotary"}
        network = make_network(os.environ["CASE"], engine="chunked", model=model)
        params, xs = make_params(network), make_inputs(9)[None]
        keys, cuts = jax.random.split(jax.random.key(2), 1), (slice(4), slice(4, 7), slice(7, None))
        mesh = Layout(1, 2).mesh(1)
        where = shardings(params, mesh, network.backbone.shard_by)
        own = jax.tree.map(lambda a: a.spec, where)

        def run(network, params):
            if (share := network.backbone.share) is not None:
                params = Parameters(*share.entered(*params))
            first, second, queries = (xs[:, cut] for cut in cuts)
            one = run_episodes(network, params, first, keys)
            two = run_episodes(network, params, second, keys, queries, one.state)
            return (one.outputs.task**2).sum() + (two.outputs.task**3).sum(), (one, two)

        def found(network, params):
            (_, traces), grads = jax.value_and_grad(run, 1, has_aux=True)(network, params)
            return [trace.outputs for trace in traces], grads

        part = jax.shard_map(
            lambda params: found(network.part(2), params),
            mesh=mesh,
            in_specs=(own,),
            out_specs=(jax.P(), own),
            check_vma=False,
        )
        whole = jax.jit(lambda params: found(network, params))(params)
        shared = jax.jit(part)(jax.device_put(params, where))
    for a, b in zip(*map(jax.tree.leaves, (whole, shared)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-11)


def test_operators_are_adjoints_and_writes_are_cut(program_with_devices):
    program_with_devices(2, "tests.plasticity.test_shares", "check_operators")


def on_two(function, split, *args):
    """function(share, *args) on two devices; results are whole."""
    share, specs = Share(2, split, {}), jax.P()
    run = jax.shard_map(
        lambda *a: function(share, *a),
        mesh=Layout(1, 2).mesh(1),
        in_specs=specs,
        out_specs=specs,
        check_vma=False,
    )
    return jax.jit(run)(*args)


def check_operators():
    """A net of two layers: its value, gradient, and the gradient of a function of the gradient."""
    rng = np.random.default_rng(0)
    x, a, b = (jnp.asarray(rng.normal(size=s)) for s in ((3,), (4, 3), (5, 4)))

    def whole(x, a, b):
        return jnp.tanh(b @ jnp.tanh(a @ x)).sum()

    def shared(share, x, a, b):
        x, a, b = share.enter((x, a, b))
        part = jnp.tanh(share.own(a, 0) @ x)
        return jnp.tanh(share.leave(share.own(b, 1) @ part)).sum()

    def twice(f, *args):
        def of_gradient(*args):
            return sum((g**3).sum() for g in jax.grad(f, (0, 1, 2))(*args))

        return f(*args), jax.grad(f, (0, 1, 2))(*args), jax.grad(of_gradient, (0, 1, 2))(*args)

    found = on_two(lambda s, *args: twice(lambda *v: shared(s, *v), *args), {}, x, a, b)
    for one, other in zip(*map(jax.tree.leaves, (found, twice(whole, x, a, b))), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)
    check_writes(rng)
    check_measures(rng)


def check_writes(rng):
    """Rates and keeps per output or per input lie where their layer is split."""
    for keep, size in (("output", 4), ("input", 6)):
        draw = [jnp.float32(rng.normal(size=s)) for s in ((2, 4), (2, 6), (4,), (size,))]
        write = Write(*draw)
        if keep == "input":
            write = write._replace(rate=jnp.float32(0.5))

        def parts(share, write, keep=keep):
            made = share.parts(Form(keep, terms=2), {"a": write, "b": write, "c": write})
            return jax.tree.map(lambda a: jax.lax.all_gather(a, MODEL), made)

        found = on_two(parts, {"a": "outputs", "b": "inputs"}, write)
        for name, split in (("a", {"left", "rate"}), ("b", {"right"}), ("c", set())):
            split = split | (
                {"keep"} if (name, keep) in (("a", "output"), ("b", "input")) else set()
            )
            for field in ("left", "right", "rate", "keep"):
                expected = getattr(write, field)
                got = getattr(found[name], field)
                if field in split and expected.ndim:
                    got = jnp.concatenate(list(got), -1)
                    np.testing.assert_array_equal(got, expected)
                else:
                    np.testing.assert_array_equal(got[0], expected)


def check_measures(rng):
    """Mean rates and sizes of writes, of a rate per output, from the parts of two devices."""
    left, right, rate = (jnp.float32(rng.normal(size=(2, 3, s))) for s in (4, 6, 4))
    write = Write(left, right, rate, keep=rate)
    params = SimpleNamespace(plasticity=SimpleNamespace(synapses={}))

    def measured(share, writes):
        network = SimpleNamespace(backbone=SimpleNamespace(share=share))
        return modulation(network, params, SimpleNamespace(writes=writes))

    writes = {"a": write, "b": write, "c": write}
    found = on_two(
        lambda share, writes: measured(share, share.parts(Form("output"), writes)),
        {"a": "outputs", "b": "inputs"},
        writes,
    )
    whole = measured(None, writes)
    np.testing.assert_allclose(whole.rates["a"], rate.mean(-1), rtol=1e-6)
    for one, other in zip(*map(jax.tree.leaves, (found, whole)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_what_a_rule_reads_is_gathered():
    shapes = {"a": LayerShape(4, 3)}
    for rule, fields in (
        (hebbian(), {"pre", "post"}),
        (hebbian(post="activation"), {"pre", "activation"}),
    ):
        read = reads_of(rule, shapes, 3)["a"]._asdict()
        assert {name for name, is_read in read.items() if is_read} == fields


def test_what_cannot_be_shared_so_is_left_to_the_partitioner():
    network = make_network()
    assert network.part(1) is None
    assert network.part(2).backbone.shapes["block_0/fc1"] == (3, 8)
    with pytest.raises(ValueError, match=r"feed_forward=6 must be a multiple of mesh\.model=4"):
        network.part(4)
    three = {"feed_forward": 9, "plastic": "feed_forward"}
    with pytest.raises(ValueError, match=r"model\.heads=2 must be a multiple of mesh\.model=3"):
        make_network(model=three).part(3)
    assert make_network(model=three | {"plastic": "attention"}).part(3) is not None
    assert make_network(backbone="rnn").part(2) is None
    levels = {"plastic": "none", "levels": "1,2"}
    assert make_network("none", model=levels).part(2) is None
    rule, write = network.rule, network.rule.write

    def reads_alpha(theta, modulator, activities):
        writes = write(theta, modulator, activities)
        scale = theta.synapses["block_0/fc1"].alpha.mean()
        return {name: w._replace(rate=w.rate * scale) for name, w in writes.items()}

    for other in (
        rule._replace(form=Form(settle=lambda trace: trace)),
        rule._replace(form=Form("synapse")),
        rule._replace(write=reads_alpha),
    ):
        assert network._replace(rule=other, memory=ENGINES["dense"](0, other.form)).part(2) is None
