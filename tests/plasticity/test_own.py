"""`plasticity.run`: values and gradients, what JAX may do around it, and errors for wrong uses."""

import functools
import itertools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, PartitionSpec

import plasticity as P
from plasticity.memory import ENGINES
from tests.plasticity.test_episode import assert_trees_close
from tests.sample import sampled

SIZES = {"hid": (6, 3), "out": (4, 6)}
STRONG = {"eta0": 1.0, "alpha_init": "uniform", "alpha_scale": 1.0}
RULES = {
    "hebbian": P.hebbian(**STRONG),
    "gradient": P.gradient(**STRONG),
    "delta": P.delta(**STRONG),
}
CASES = [("gradient", "chunked")]
OTHERS = [c for c in itertools.product(RULES, ("dense", "factored", "chunked")) if c not in CASES]


def make(rule="hebbian", layers=SIZES, memory="chunked", **more):
    """Plastic layers, and theta in JAX's default float type."""
    head = more.pop("head", 5 if rule == "gradient" else 0)
    plastic = P.plastic(RULES.get(rule, rule), layers, memory=memory, chunk=2, head=head, **more)
    theta = plastic.init(jax.random.key(1))
    return plastic, jax.tree.map(lambda a: a.astype(jnp.result_type(float)), theta)


def make_params(dtype=float):
    keys = jax.random.split(jax.random.key(2), 4)
    shapes = {"a": (6, 3), "b": (4, 6), "g": (6,), "r": (6, 6)}
    drawn = zip(keys, shapes.items(), strict=True)
    return {n: jax.random.normal(k, s, jnp.result_type(dtype)) / 2 for k, (n, s) in drawn}


def draw(episodes=2, steps=5):
    return jax.random.normal(jax.random.key(3), (episodes, steps, 3), jnp.result_type(float))


def forward(p, carry, x, fast):
    hidden = fast("hid", x, p["a"] @ x, jnp.tanh)
    return carry, (fast("out", hidden, p["b"] @ hidden), p["g"] @ hidden)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rule", "memory"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in OTHERS)]
)
def test_pieces_equal_one_pass(rule, memory, x64):
    """With a feed-forward layer, a memory site if the rule has one, and a carry of the user."""
    site = None if RULES[rule].site is None else {"site": (6, 3)}
    plastic, theta = make(rule, memory=memory, sites=site)
    xs = draw()

    def remembering(p, carry, x, fast):
        hidden = fast("hid", x, p["a"] @ x + p["r"] @ carry, jnp.tanh)
        if site:
            hidden += fast.associate("site", P.Token(x, x / 2, jnp.tanh(hidden), 0.5))
        return hidden, (fast("out", hidden, p["b"] @ hidden), p["g"] @ hidden)

    def loss(learned, pieces):
        state, answers, start, carry = None, [], 0, jnp.ones(6)
        for steps in pieces:
            piece = xs[:, start : start + steps]
            answer, state = P.run(plastic, remembering, *learned, piece, state, carry)
            answers.append(answer)
            start, carry = start + steps, ()  # from now on in the state
        answers = jnp.concatenate(answers, 1)
        weights = plastic.weights(learned[1], state)
        return (answers**2).sum() + sum((w.weight**2).sum() for w in weights.values()), answers

    run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    learned = (make_params(), theta)
    assert_trees_close(run(learned, (1, 4)), run(learned, (5,)), 1e-10)


@pytest.mark.parametrize("rule", ["hebbian", "delta"])
def test_run_equals_a_loop_by_hand(rule, x64):
    """One layer, no clip: the equations of the rules, in values and gradients."""
    options = STRONG | {"max_norm": 0.0, "plastic_biases": False, "decay_ratio": 1.0}
    plastic, theta = make(getattr(P, rule)(**options), {"out": (4, 3)})
    xs, slow = draw(), make_params()["b"][:, :3]

    def step(slow, carry, x, fast):
        return carry, (fast("out", x, slow @ x), x[0])

    def by_run(learned):
        return (P.run(plastic, step, *learned, xs)[0] ** 2).sum()

    def by_hand(learned):
        slow, theta = learned
        alpha = theta.synapses["out"].alpha

        def body(weight, x):
            said, recalled = slow @ x, weight @ x
            rate = jax.nn.sigmoid(x[0])
            left, right = (
                (said + recalled, x) if rule == "hebbian" else (said - recalled, x / (x @ x))
            )
            weight = (1 - rate) * weight + rate * alpha * jnp.outer(left, right)
            return weight, said + recalled

        start = jnp.zeros((4, 3))
        return sum((jax.lax.scan(body, start, episode)[1] ** 2).sum() for episode in xs)

    learned = (slow, theta)
    by_run, by_hand = (jax.jit(jax.value_and_grad(f)) for f in (by_run, by_hand))
    assert_trees_close(by_run(learned), by_hand(learned), 1e-10)


def test_a_memory_site_of_a_step_equals_associate_over_all_steps(x64):
    rule = P.gated_delta()
    plastic, theta = make(rule, {}, sites={"site": (4, 3)})
    xs, projections = draw(), make_params()["b"][:, :3]

    def token(p, x):
        return P.Token(x, x / 2, p @ x, jax.nn.sigmoid(x[0]), 0.9)

    def by_step(p):
        run = functools.partial(
            P.run, plastic, lambda p, c, x, fast: (c, (fast.associate("site", token(p, x)), 0.0))
        )
        return (run(p, theta, xs)[0] ** 2).sum()

    def at_once(p):
        tokens = jax.vmap(lambda x: token(p, x)._replace(keep=jnp.full((), 0.9)))
        return sum((P.associate(rule, tokens(x))[0] ** 2).sum() for x in xs)

    by_step, at_once = (jax.jit(jax.value_and_grad(f)) for f in (by_step, at_once))
    assert_trees_close(by_step(projections), at_once(projections), 1e-10)


def test_training_does_not_hold_a_matrix_per_step():
    steps, size = 512, 32
    matrices = 4 * steps * size**2
    shape = P.LayerShape(size, size)
    rule = P.hebbian(plastic_biases=False)
    plastic = P.plastic(rule, {"out": shape}, chunk=32)
    theta, xs = plastic.init(jax.random.key(0)), jnp.ones((1, steps, size))
    dense = P.dense()

    def step(slow, carry, x, fast):
        return carry, (fast("out", x, slow * x), slow.sum())

    def by_run(slow):
        return P.run(plastic, step, slow, theta, xs)[0].sum()

    def by_scan(slow):
        def body(state, x):
            recall = dense.read(state, theta.synapses["out"], x)
            post = slow * x + recall
            activity = P.Activity(x, post, post, jnp.zeros_like(post), recall)
            write = rule.write(theta, slow.sum(), {"out": activity})["out"]
            return P.advance(dense, state, write, 0), post

        empty = dense.open(dense.init(shape, xs.dtype), shape, 1)
        return jax.lax.scan(body, empty, xs[0])[1].sum()

    def held(loss):
        compiled = jax.jit(jax.grad(loss)).lower(jnp.ones(size)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert held(by_scan) > matrices
    assert held(by_run) < matrices / 3


def small(memory="chunked"):
    """A network of one layer: (plastic, (slow weights, theta), xs)."""
    plastic, theta = make("hebbian", {"out": (4, 3)}, memory)
    return plastic, (make_params()["b"][:, :3], theta), draw(2, 4)


def one_layer(slow, carry, x, fast):
    return carry, (fast("out", x, slow @ x), x[0])


def square(plastic, learned, xs):
    """A loss that depends on answers and on the state."""
    answers, state = P.run(plastic, one_layer, *learned, xs)
    return (answers**2).sum() + (plastic.weights(learned[1], state)["out"].weight ** 2).sum()


def in_a_mesh(plastic, learned, xs):
    mesh = jax.make_mesh((1,), ("devices",), axis_types=(AxisType.Auto,))
    specs = (PartitionSpec(), PartitionSpec("devices"))
    sums = jax.shard_map(
        lambda learned, xs: square(plastic, learned, xs)[None],
        mesh=mesh,
        in_specs=specs,
        out_specs=specs[1],
        check_vma=False,
    )
    return sums(learned, xs).sum()


AROUND = {
    "static argument": jax.grad(jax.jit(square, static_argnums=0), 1),
    "checkpoint": jax.grad(jax.checkpoint(square, static_argnums=0), 1),
    "vmap": lambda plastic, learned, xs: jax.tree.map(
        lambda a: a.sum(0),
        jax.vmap(lambda x: jax.grad(square, 1)(plastic, learned, x))(xs[:, None]),
    ),
    "shard_map": jax.grad(in_a_mesh, 1),
}


def gradient(way):
    plastic, learned, xs = small()
    return jax.jit(lambda learned: way(plastic, learned, xs))(learned)


@pytest.mark.parametrize("way", sampled(AROUND, lambda way: way == "shard_map", "thorough"))
def test_transformations_around_run_change_nothing(way, x64):
    assert_trees_close(gradient(AROUND[way]), gradient(jax.grad(square, 1)), 1e-10)


@pytest.mark.slow  # by default test_append_scan.py
def test_second_derivatives_do_not_depend_on_the_engine(x64):
    def twice(memory):
        plastic, learned, xs = small(memory)

        def size(learned):
            grads = jax.grad(square, 1)(plastic, learned, xs)
            return sum((a**2).sum() for a in jax.tree.leaves(grads))

        return jax.jit(jax.grad(size))(learned)

    assert_trees_close(twice("chunked"), twice("dense"), 1e-10)


@pytest.mark.slow
def test_strict_modes_of_jax():
    """Also where an input, and all that is written, is zero."""
    plastic, learned, xs = small()
    xs = xs.at[:, 1].set(0)
    with (
        jax.debug_nans(True),
        jax.checking_leaks(),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
    ):
        grads = jax.jit(lambda learned: jax.grad(square, 1)(plastic, learned, xs))(learned)
    assert all(jnp.isfinite(a).all() for a in jax.tree.leaves(grads))
    with jax.disable_jit():
        answers, _ = P.run(plastic, one_layer, *learned, xs[:1, :2])
    jitted, _ = P.run(plastic, one_layer, *learned, xs[:1, :2])
    assert jnp.allclose(answers, jitted, atol=1e-5)


def test_bfloat16_weights():
    plastic, (slow, theta), xs = small()
    run = jax.jit(lambda slow, state=None: P.run(plastic, one_layer, slow, theta, xs, state))
    answers, state = run(slow.astype(jnp.bfloat16))
    exact, _ = run(slow)
    assert state.fast["out"].weight.dtype == jnp.float32
    assert jnp.abs(answers - exact).max() < 0.1 * jnp.abs(exact).max()
    run(slow.astype(jnp.bfloat16), state)


@pytest.mark.parametrize("memory", sampled(ENGINES, lambda name: name == "dense", "thorough"))
def test_fast_weights_of_bfloat16_networks_decay(memory):
    """1 - .002 is 1 in bfloat16: a state of that type would never forget."""
    rule = P.hebbian(eta0=0.002, max_norm=0.0, alpha_scale=1.0, decay_ratio=1.0)
    plastic = P.plastic(rule, {"out": (2, 3)}, memory=memory)
    theta, xs = plastic.init(jax.random.key(0)), jnp.zeros((1, 400, 3)).at[:, :20].set(1.0)

    def step(params, carry, x, fast):
        return carry, (fast("out", x, params @ x), x.sum())

    norms = []
    for dtype in (jnp.float32, jnp.bfloat16):
        answers, state = P.run(plastic, step, jnp.ones((2, 3), dtype), theta, xs)
        assert answers.dtype == dtype
        norms.append(jnp.linalg.norm(plastic.weights(theta, state)["out"].weight))
    assert norms[1] == pytest.approx(float(norms[0]), rel=0.02)


@pytest.mark.thorough
def test_a_site_of_a_bfloat16_network_forgets():
    plastic = P.plastic(P.gated_delta(), sites={"site": (2, 3)})
    theta, xs = plastic.init(jax.random.key(0)), jnp.zeros((1, 400, 3)).at[:, 0].set(1.0)

    def step(params, carry, x, fast):
        keep = jnp.asarray(0.999, jnp.float32)
        token = P.Token(jnp.ones_like(x), x, params @ x, 0.3, keep)
        return carry, (fast.associate("site", token), 0.0)

    answers, _ = P.run(plastic, step, jnp.ones((2, 3), jnp.bfloat16), theta, xs)
    assert answers.dtype == jnp.bfloat16
    last = float(answers[0, -1, 0]) / float(answers[0, 0, 0])
    assert last == pytest.approx(0.999**399, rel=0.02)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": {"out": (4,)}}, r"layers: 'out' is \(4,\), it should be \(O, I\)"),
        ({"layers": {"out": (4, -3)}}, r"layers: 'out' is \(4, -3\).* above 0"),
        ({"layers": {"out": (4.0, 3)}}, "integers above 0"),
        ({"layers": {"out": 4}}, "layers: 'out' is 4"),
        ({"layers": {"out": (4, 3)}, "head": 7}, "head=7 has no effect"),
    ],
)
def test_wrong_sizes_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        P.plastic(P.hebbian(), **given)


def test_without_plasticity_nothing_is_read():
    """The same forward under `none`, at layers and sites, with the theta of another rule."""
    plastic, theta = make("delta", {"hid": (6, 3)}, sites={"site": (4, 3)})

    def step(p, carry, x, fast):
        hidden = fast("hid", x, p["a"] @ x)
        answer = p["b"] @ hidden + fast.associate("site", P.Token(x, x, p["b"] @ hidden))
        return carry, (answer, 0)

    static = P.plastic(P.none(), plastic.layers, sites=plastic.sites)
    params, xs = make_params(), draw()
    answers, state = jax.jit(lambda p, xs: P.run(static, step, p, theta, xs))(params, xs)
    assert jnp.allclose(answers, xs @ params["a"].T @ params["b"].T, atol=1e-5)
    assert static.weights(theta, state) == {}
    answer, _ = jax.jit(lambda p, x: P.step(plastic, step, p, theta, x))(params, xs[:, 0])
    assert not jnp.allclose(answer, answers[:, 0])  # the site is read after it is written


@pytest.mark.thorough
def test_a_gradient_across_two_pieces_whose_input_has_an_empty_leaf():
    plastic, theta = make()
    params, xs = make_params(), {"x": draw(), "none": jnp.zeros((*draw().shape[:2], 0))}

    def step(p, carry, x, fast):
        return forward(p, carry, x["x"], fast)

    def loss(params, xs):
        first, state = P.run(plastic, step, params, theta, xs)
        second, _ = P.run(plastic, step, params, theta, xs, state)
        return (first + second).sum()

    grads = jax.jit(jax.grad(loss))(params, xs)
    assert all(jnp.isfinite(a).all() for a in jax.tree.leaves(grads))


def test_an_answer_may_be_a_pytree():
    def step(p, carry, x, fast):
        carry, (answer, modulator) = forward(p, carry, x, fast)
        return carry, ({"answer": answer, "norm": answer @ answer}, modulator)

    plastic, theta = make()
    answers, _ = jax.eval_shape(lambda: P.run(plastic, step, make_params(), theta, draw()))
    assert jax.tree.map(jnp.shape, answers) == {"answer": (2, 5, 4), "norm": (2, 5)}


def calls(
    pre=lambda x: x, slow=lambda y: y, modulator=lambda g: g, answer=lambda y: y, twice=False
):
    def step(p, carry, x, fast):
        hidden = fast("hid", pre(x), slow(p["a"] @ x), jnp.tanh)
        for _ in range(1 + twice):
            out = fast("out", hidden, p["b"] @ hidden)
        return carry, (answer(out), modulator(p["g"] @ hidden))

    return step


def within(transform):
    return lambda p, carry, x, fast: transform(lambda p, x: forward(p, carry, x, fast))(p, x)


def changing(change):
    return lambda p, carry, x, fast: (change(carry), forward(p, carry, x, fast)[1])


FORWARDS = [
    (calls(twice=True), "'out' is called twice"),
    (
        lambda p, c, x, fast: (c, (fast("hid", x, p["a"] @ x), 0.0)),
        r"not call the layers \['out'\]",
    ),
    (lambda p, c, x, fast: (c, (fast("hidd", x, p["a"] @ x), 0.0)), "did you mean 'hid'"),
    (calls(pre=lambda x: x[:2]), r"pre of layer 'hid' has shape \(2,\), .* \(3,\)"),
    (calls(slow=lambda y: y[:5]), r"slow of layer 'hid' has shape \(5,\)"),
    (calls(slow=lambda y: 0.0), r"slow of layer 'hid' has shape \(\)"),
    (calls(slow=lambda y: y.astype(int)), "slow of layer 'hid' has dtype int32, not a floating"),
    (calls(modulator=lambda g: g[None]), r"modulator has shape \(1,\), it should be of shape \(\)"),
    (lambda p, c, x, fast: (c, forward(p, c, x, fast)[1][0]), "answer, modulator"),
    (within(jax.checkpoint), "within a transformation"),
    (within(jax.jit), "within a transformation"),
    (
        changing(lambda c: c.astype(int)),
        r"carry that .* is int32\[3\], it .* float32\[3\]",
    ),
    (changing(lambda c: c[:2]), r"carry that .* is float32\[2\], it should be float32\[3\]"),
    (
        changing(lambda c: (c, c)),
        r"carry .*is missing, it .* float32\[3\], and 2 other",
    ),
]


@pytest.mark.parametrize(("step", "message"), FORWARDS)
def test_wrong_forward(step, message):
    plastic, theta = make()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        P.run(plastic, step, make_params(), theta, draw(), carry=jnp.zeros(3))


@pytest.mark.parametrize(
    "token",
    [
        P.Token(jnp.ones(3), jnp.ones(2), jnp.ones(4)),
        P.Token(jnp.ones(3), jnp.ones(3), jnp.ones(3)),
        P.Token(jnp.ones((1, 3)), jnp.ones((1, 3)), jnp.ones((1, 4))),
        P.Token(jnp.ones(3), jnp.ones(3), jnp.ones(4), rate=jnp.ones(1)),
        P.Token(jnp.ones(3), jnp.ones(3), jnp.ones(4), keep=jnp.ones(3)),
    ],
    ids=["query", "value", "batch", "rate", "keep"],
)
def test_wrong_token(token, request):
    plastic, theta = make("delta", {}, sites={"site": (4, 3)})
    name = request.node.callspec.id
    message = name if name in ("rate", "keep") else "token of site 'site'"
    with pytest.raises(ValueError, match=message):
        P.run(plastic, lambda p, c, x, f: (c, (f.associate("site", token), 0.0)), {}, theta, draw())


@pytest.mark.parametrize(
    ("answer", "head"),
    [(lambda y: y[0], 5), (lambda y: {"y": y}, 5), (lambda y: y[None], 5), (lambda y: y, 7)],
)
def test_an_answer_that_an_internal_loss_cannot_read(answer, head):
    plastic, theta = make("gradient", head=head)
    with pytest.raises(ValueError, match=f"answer, of which the rule reads head={head}"):
        P.run(plastic, calls(answer=answer), make_params(), theta, draw())


def test_an_error_of_forward_says_what_it_was_called_with():
    plastic, theta = make()
    with pytest.raises(ValueError, match="matmul") as error:
        P.run(plastic, forward, make_params(), theta, draw()[0])
    assert "without axes B and T, has leaves of shapes [()]" in error.value.__notes__[0]


def test_wrong_arguments():
    plastic, theta = make()
    params, xs = make_params(), draw()
    _, state = P.run(plastic, forward, params, theta, xs)
    grown = make(memory="factored")[0]
    wrong = [
        ({"xs": xs[0, 0]}, r"xs has leaves \[\(3,\)\]: all need the axes \[B, T\]"),
        ({"xs": ()}, r"xs has leaves \[\]"),
        ({"xs": xs[:, :0]}, r"xs has leaves \[\(2, 0, 3\)\]"),
        ({"theta": make(layers={"hid": (6, 3)})[1]}, "theta"),
        ({"theta": make(layers={"hid": (5, 3), "out": (4, 5)})[1]}, "theta"),
        ({"theta": None}, "theta"),
        ({"plastic": make("gradient")[0]}, "theta"),
        ({"xs": xs[:1], "state": state}, "state is of B=2 episodes, it should be of B=1"),
        ({"plastic": grown, "state": state}, "state"),
        ({"carry": jax.random.key(0)}, "carry=.*key_data"),
    ]
    right = {"plastic": plastic, "forward": forward, "params": params, "theta": theta, "xs": xs}
    for change, message in wrong:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            P.run(**right | change)
    with pytest.raises(ValueError, match=r"x has leaves \[\(\)\]: all need the axes \[B\]"):
        P.step(plastic, forward, params, theta, 0.0)
