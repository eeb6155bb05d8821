"""`append_scan` against `lax.scan`, which stores what it likes and is differentiated by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import checkify, io_callback
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from plasticity.append_scan import append_scan
from plasticity.joint import Joint
from tests.sample import sampled

EPISODES, STEPS, WIDTH = 3, 6, 4


def step(params, carry, history, x, t):
    """A carry, two float histories and an integer one; reads rows before t through a mask."""
    carry = carry * params["decay"] + x.sum()
    past = jnp.arange(len(history["key"])) < t
    weight = jnp.where(past, history["key"] @ (params["query"] @ x), 0.0) * carry
    y = jnp.tanh(params["in"] @ x + weight @ history["value"] + params["bias"])
    entry = {"key": y * carry, "value": jnp.tanh(params["out"] @ y), "position": t}
    return carry, entry, (y, t)


def plain_scan(step, params, carry, history, xs, *, axis=0):
    """The oracle."""

    def body(state, scanned):
        (carry, history), (x, t) = state, scanned
        carry, entry, y = step(params, carry, history, x, t)
        history = jax.tree.map(
            lambda h, e: lax.dynamic_update_index_in_dim(h, e, t, axis), history, entry
        )
        return (carry, history), y

    t = jnp.arange(len(xs), dtype=jnp.int32)
    (carry, history), ys = lax.scan(body, (carry, history), (xs, t))
    return carry, history, ys


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape))


def problem(rows=STEPS):
    params = {name: draw(WIDTH, WIDTH, seed=i) for i, name in enumerate(("query", "in", "out"))}
    params |= {"decay": jnp.asarray(0.7), "bias": draw(WIDTH)}
    rows = jnp.zeros((EPISODES, rows, WIDTH))
    blank = {"key": rows, "value": rows, "position": jnp.full(rows.shape[:2], -1, jnp.int32)}
    return params, 0.3 * jnp.ones(EPISODES), blank, draw(STEPS, EPISODES, WIDTH)


many = jax.vmap(step, in_axes=(None, 0, 0, 0, None))


def loss(scan, params, carry, history, xs):
    """Depends on the carry, the history and the outputs."""
    carry, history, (ys, _) = scan(many, params, carry, history, xs, axis=1)
    return (ys**2).sum() + (carry**3).sum() + (history["value"] * jnp.cos(history["key"])).sum()


def close(a, b, rtol=1e-11):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        scale = np.abs(np.asarray(y)).max(initial=0) or 1.0
        np.testing.assert_allclose(x, y, rtol=0, atol=rtol * scale)


@pytest.mark.parametrize("rows", [STEPS, STEPS + 2])
def test_values_and_gradients_equal_those_of_a_plain_scan(rows, x64):
    args = problem(rows)
    close(append_scan(many, *args, axis=1), plain_scan(many, *args, axis=1))

    def gradient(scan):
        return jax.jit(jax.grad(lambda p, c, x: loss(scan, p, c, args[2], x), argnums=(0, 1, 2)))(
            args[0], args[1], args[3]
        )

    close(gradient(append_scan), gradient(plain_scan))


@pytest.mark.parametrize("rows", sampled([STEPS, STEPS + 2], lambda r: r != STEPS, "thorough"))
@pytest.mark.parametrize("length", [1, 2, STEPS])
def test_a_window_gives_a_step_the_rows_before_it(rows, length, x64):
    """Against a step that has the whole history, and masks what is older."""

    def read(history, seen, params, x):
        weight = jnp.where(seen, history["key"] @ (params["query"] @ x), 0.0)
        return jnp.tanh(params["in"] @ x + weight @ history["value"])

    def whole(params, carry, history, x, t):
        row = jnp.arange(len(history["key"]))
        y = read(history, (row < t) & (row >= t - length), params, x)
        return carry + y[0], {"key": y, "value": params["out"] @ y, "position": t}, (y, t)

    def windowed(params, carry, history, x, t):
        assert len(history["key"]) == length
        y = read(history, history["position"] >= 0, params, x)
        return carry + y[0], {"key": y, "value": params["out"] @ y, "position": t}, (y, t)

    params, *_, xs = problem()
    blank = problem(rows)[2]
    window = dict.fromkeys(blank, length)

    def outcome(step, params, xs, **options):
        mapped = jax.vmap(step, in_axes=(None, 0, 0, 0, None))
        out = append_scan(mapped, params, jnp.zeros(EPISODES), blank, xs, axis=1, **options)
        carry, history, (ys, _) = out
        return (ys**2).sum() + (carry**3).sum() + jnp.sin(history["value"]).sum(), out

    gradient = jax.grad(outcome, argnums=(1, 2), has_aux=True)
    close(gradient(windowed, params, xs, window=window), gradient(whole, params, xs))


def test_a_window_that_does_not_fit_is_refused():
    def step(p, c, h, x, t):
        return c, x, ()

    for window, message in ((5, "window=5 should be from 0 to 4"), ((1, 1), "one int for every")):
        with pytest.raises(ValueError, match=message):
            append_scan(step, 1.0, 0.0, jnp.zeros(4), XS, window=window)


def test_what_the_step_closes_over_receives_a_gradient(x64):
    params, carry, blank, xs = problem()

    def scaled(scan, factor):
        def closing(params, *rest):
            carry, entry, (y, t) = many(params, *rest)
            return carry, entry, (factor * y, t)

        return (scan(closing, params, carry, blank, xs, axis=1)[2][0] ** 2).sum()

    grads = [
        jax.grad(scaled, argnums=1)(scan, jnp.asarray(1.3)) for scan in (append_scan, plain_scan)
    ]
    assert grads[1] != 0
    close(*grads)


def test_under_vmap_over_everything_and_over_episodes_only(x64):
    params, carry, blank, xs = problem()

    def outer(scan, params):
        """One episode a call, parameters shared."""
        ys = jax.vmap(lambda c, h, x: scan(step, params, c, h, x)[2][0], in_axes=(0, 0, 1))(
            carry, blank, xs
        )
        return (ys**2).sum()

    close(*(jax.grad(outer, argnums=1)(scan, params) for scan in (append_scan, plain_scan)))
    both = jax.tree.map(lambda p: jnp.stack([p, 0.5 * p]), params)
    grads = [
        jax.vmap(jax.grad(lambda p, s=scan: loss(s, p, carry, blank, xs)))(both)
        for scan in (append_scan, plain_scan)
    ]
    close(*grads)


@pytest.mark.thorough
def test_a_gradient_of_a_gradient_works_in_reverse_mode(x64):
    params, carry, blank, xs = problem()

    def sharpness(scan, params):
        grads = jax.grad(lambda p: loss(scan, p, carry, blank, xs))(params)
        return sum((g**2).sum() for g in jax.tree.leaves(grads))

    grads = [jax.grad(sharpness, argnums=1)(scan, params) for scan in (append_scan, plain_scan)]
    close(*grads, rtol=1e-10)


def test_forward_mode_is_refused():
    params, carry, blank, xs = problem()
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: loss(append_scan, params, carry, blank, x), (xs,), (xs,))


@pytest.mark.slow
def test_episodes_sharded_over_two_devices(program_with_devices):
    """In a process of its own, which has two devices."""
    program_with_devices(2, "tests.plasticity.test_append_scan", "check_sharded")


def check_sharded():
    with jax.enable_x64(True):
        params, carry, blank, xs = problem()

        def double(a, axis):
            return jnp.concatenate([a, a if a.dtype == jnp.int32 else 2 * a], axis)

        carry, xs = double(carry, 0), double(xs, 1)
        blank = jax.tree.map(lambda a: double(a, 0), blank)
        mesh = Mesh(np.asarray(jax.devices()), ("episodes",))
        assert mesh.size == 2

        def put(a, *spec):
            return jax.device_put(a, NamedSharding(mesh, PartitionSpec(*spec)))

        gradient = jax.jit(jax.grad(lambda p, c, h, x: loss(append_scan, p, c, h, x)))
        spread = gradient(
            put(params), put(carry, "episodes"), put(blank, "episodes"), put(xs, None, "episodes")
        )
        close(spread, gradient(params, carry, blank, xs))

        # jax.shard_map, jitted and eager, the gradient taken inside and outside.
        spec = PartitionSpec("episodes")

        def shared(function):
            return jax.shard_map(
                function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
            )

        def value(c, h, x):
            out = append_scan(many, params, c, h, jnp.swapaxes(x, 0, 1), axis=1)
            return (out[2][0] ** 2).sum((0, 2))

        args = carry, blank, jnp.swapaxes(xs, 0, 1)
        slope = jax.grad(lambda c, h, x: value(c, h, x).sum())
        close(shared(value)(*args), value(*args))
        close(shared(slope)(*args), slope(*args))
        close(jax.jit(shared(slope))(*args), slope(*args))
        close(jax.grad(lambda c, h, x: shared(value)(c, h, x).sum())(*args), slope(*args))


def temporary_bytes(scan, steps, width=32):
    def gradient(params, xs):
        def recall(params, carry, history, x, t):
            read = (history @ x) @ history
            return carry, jnp.tanh(params @ (x + read)), ()

        blank = jnp.zeros((steps, width))
        return jax.grad(lambda p: (scan(recall, p, (), blank, xs)[1] ** 2).sum())(params)

    shapes = (
        jax.ShapeDtypeStruct((width, width), "float32"),
        jax.ShapeDtypeStruct((steps, width), "float32"),
    )
    return jax.jit(gradient).lower(*shapes).compile().memory_analysis().temp_size_in_bytes


def test_memory_grows_with_the_history_and_not_with_its_square():
    """The plain scan keeps T histories of T rows."""
    history = 256 * 32 * 4
    assert temporary_bytes(append_scan, 256) < 12 * history
    assert temporary_bytes(plain_scan, 256) > 128 * history


def joint_of(batch):
    """The joint program of a step that multiplies by a matrix and by a vector of parameters."""

    def step(params, carry, history, x, t):
        matrix, vector = params
        return [], [x[0] @ matrix + vector], [jnp.tanh(history[0].sum(1))]

    avals = [
        [jnp.zeros((8, 8)), jnp.zeros(8)],
        [],
        [jnp.zeros((batch, 5, 8))],
        [jnp.zeros((batch, 8))],
        jnp.int32(0),
    ]
    inputs = [[True, True], [], [True], [True]]
    return Joint(step, avals, inputs, [[], [True], [True]])


def test_a_product_waits_for_the_end_where_its_factors_are_smaller_than_itself():
    assert list(joint_of(batch=4).deferred) == [0]  # the matrix; the vector is no product
    assert list(joint_of(batch=64).deferred) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, c, h, x: (p, c, h, x[:0]), "leading axis T >= 1"),
        (lambda p, c, h, x: (p, c, jax.tree.map(lambda a: a[:, :4], h), x), "4 rows, fewer than"),
        (lambda p, c, h, x: (p, c.astype(jnp.float16), h, x), r"carry is float32\[3\], .* float16"),
        (
            lambda p, c, h, x: (p, c, h | {"key": h["key"][..., :2]}, x),
            r"entry\['key'\] is float32",
        ),
        (lambda p, c, h, x: (p, c, {"key": h["key"]}, x), "the entry that the step returns is"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    args = change(*jax.tree.map(lambda a: a.astype(jnp.result_type(a)), problem()))

    def safe(params, carry, history, x, t):
        full = problem()[2]
        return many(params, carry, full, x, t)

    with pytest.raises(ValueError, match=message):
        append_scan(safe, *args, axis=1)


# What lax.scan does, on one small step: the sum of p x over four steps.
XS, HISTORY = jnp.arange(1.0, 5.0), jnp.zeros(4)


def summing(extra=lambda p, c, x, t: 0.0):
    def step(p, c, h, x, t):
        return c + p * x + extra(p, c, x, t), x, p * x

    return step


def final(scan, step, p, carry=0.0):
    return scan(step, p, carry, HISTORY, XS)[0]


def recording(seen, how):
    def call(p, c, x, t):
        how(lambda t: seen.append(int(t)), t)
        return 0.0

    return summing(call)


def io_call(function, t):
    io_callback(function, None, t, ordered=True)


EFFECTS = {
    "callback": jax.debug.callback,
    "ordered callback": lambda f, t: jax.debug.callback(f, t, ordered=True),
    "io_callback": io_call,
    "in a jitted function": jax.jit(jax.debug.callback, static_argnums=0),
}


@pytest.mark.parametrize("kind", EFFECTS)
@pytest.mark.parametrize(
    "transform",
    [lambda f: f, jax.jit, lambda f: jax.jit(jax.grad(f)), jax.grad],
    ids=["eager", "jit", "jit grad", "grad"],
)
def test_an_effect_runs_once_a_step(kind, transform):
    seen = []
    step = recording(seen, EFFECTS[kind])
    out = transform(lambda p: final(append_scan, step, p))(jnp.float32(2))
    jax.block_until_ready(out)
    jax.effects_barrier()
    assert sorted(seen) == [0, 1, 2, 3]


def test_an_effect_runs_for_every_episode_and_where_it_needs_no_value():
    seen = []
    step = summing(
        lambda p, c, x, t: jax.debug.callback(lambda t, p: seen.append(int(t)), t, p) or 0.0
    )
    jax.block_until_ready(jax.vmap(lambda p: final(append_scan, step, p))(jnp.ones(3)))
    jax.effects_barrier()
    assert sorted(seen) == sorted([0, 1, 2, 3] * 3)
    seen.clear()
    step = summing(lambda *_: jax.debug.callback(lambda: seen.append(0)) or 0.0)
    jax.block_until_ready(jax.grad(lambda p: final(append_scan, step, p))(1.0))
    jax.effects_barrier()
    assert len(seen) == 4


def test_a_callback_with_a_result_runs_once_a_step_under_a_gradient():
    """The walk back reads the recorded results; it does not repeat the callback."""
    seen = []

    def answer(t):
        seen.append(int(t))
        return np.float32(len(seen))

    def step(p, c, h, x, t):
        gain = io_callback(answer, jax.ShapeDtypeStruct((), jnp.float32), t, ordered=True)
        return c + jnp.sin(p * gain), x, ()

    slope = jax.jit(jax.grad(lambda p: final(append_scan, step, p)))(0.5)
    gains = np.arange(1, 5)
    np.testing.assert_allclose(slope, (gains * np.cos(0.5 * gains)).sum(), rtol=1e-6)
    assert seen == [0, 1, 2, 3]


def test_an_effect_of_the_adjoint_runs_on_the_way_back():
    seen = []

    @jax.custom_vjp
    def watched(x):
        return x

    def backward(_, bar):
        jax.debug.callback(lambda bar: seen.append(float(bar)), bar)
        return (bar,)

    watched.defvjp(lambda x: (x, None), backward)
    step = summing(lambda p, c, x, t: watched(p * x))
    jax.block_until_ready(jax.jit(jax.grad(lambda p: 3.0 * final(append_scan, step, p)))(1.0))
    jax.effects_barrier()
    assert seen == [3.0] * 4


@pytest.mark.parametrize("grad", [False, True])
def test_checkify_finds_what_is_wrong_within_a_step(grad):
    def check(p, c, x, t):
        checkify.check(x < 3, "x is {x}", x=x)
        return 0.0

    def run(step, errors):
        function = lambda p: final(append_scan, step, p)  # noqa: E731
        checked = checkify.checkify(jax.grad(function) if grad else function, errors=errors)
        return jax.jit(checked)(2.0)[0].get() or ""

    assert "x is 3.0" in run(summing(check), checkify.user_checks)
    log = summing(lambda p, c, x, t: jnp.log(x - 5) * p)
    assert "nan generated" in run(log, checkify.float_checks)
    assert not run(summing(), checkify.float_checks)


def halve(x):
    return lax.while_loop(lambda s: s > 1.0, lambda s: s * 0.5, x)


def test_a_step_without_a_reverse_mode_runs_where_it_needs_none():
    of_x = summing(lambda p, c, x, t: halve(x))
    for transform in (lambda f: f, jax.jit, jax.vmap, jax.grad):
        args = jnp.ones(2) if transform is jax.vmap else 2.0
        both = [
            transform(lambda p, s=s: final(s, of_x, p))(args) for s in (append_scan, plain_scan)
        ]
        close(*both, rtol=1e-6)
    of_p = summing(lambda p, c, x, t: halve(p * x))
    close(*(final(s, of_p, 2.0) for s in (append_scan, plain_scan)), rtol=1e-6)
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(lambda p: final(append_scan, of_p, p))(2.0)


@pytest.mark.parametrize(
    ("step", "carry"),
    [
        (summing(), 0),
        (summing(), 0.5),
        (lambda p, c, h, x, t: ((c[0] + 1, c[1] + p * x), x, c[0]), (0, 0)),
        (lambda p, c, h, x, t: (c ^ (x > 2), x, jnp.where(c, p, x)), False),
        (lambda p, c, h, x, t: (1.0, 1.0, p * c), jnp.zeros(())),
        (lambda p, c, h, x, t: ((c[0] + p * x, c[1]), x, p), (0.0, jnp.zeros((0, 3)))),
    ],
)
def test_python_numbers_and_empty_leaves_are_a_carry(step, carry):
    def run(scan, p):
        return scan(step, p, carry, HISTORY, XS)

    def loss(scan, p):
        return sum(jnp.sum(a * 1.0) for a in jax.tree.leaves(run(scan, p)))

    for values in zip(
        *(jax.tree.leaves(run(s, 2.0)) for s in (append_scan, plain_scan)), strict=True
    ):
        assert values[0].dtype == values[1].dtype
        close(*values, rtol=1e-6)
    close(*(jax.grad(loss, argnums=1)(s, 2.0) for s in (append_scan, plain_scan)), rtol=1e-6)


def test_python_numbers_are_cotangents():
    _, pull = jax.vjp(lambda p: append_scan(summing(), p, 0.0, HISTORY, XS)[::2], 2.0)
    assert pull((1.0, np.ones(4, np.float32))) == (20.0,)


@pytest.mark.parametrize(
    "option",
    [
        jax.numpy_rank_promotion("raise"),
        jax.disable_jit(),
        jax.debug_nans(True),
        pytest.param(
            jax.checking_leaks(),
            # The program of the step keeps the tracer that the step closes over. JAX 0.12 keeps
            # the program, as part of the reverse pass, in that of the caller.
            marks=pytest.mark.xfail(jax.__version_info__ >= (0, 12), reason="see the comment"),
        ),
        jax.enable_checks(True),
    ],
    ids=["rank promotion", "disable_jit", "debug_nans", "leaks", "checks"],
)
def test_under_options_of_jax(option):
    def slope(p):
        closing = summing(lambda _, c, x, t: p * x)  # closes over a tracer
        return jax.checkpoint(lambda q: final(append_scan, closing, q))(p)

    with option:
        assert jax.jit(jax.grad(slope))(2.0) == 20.0


def test_a_history_may_grow_along_its_last_axis():
    def step(p, c, h, x, t):
        return c + p * h.sum() * x, x * jnp.ones(2), ()

    for axis, shape in ((-1, (2, 4)), (1, (2, 4)), (0, (4, 2))):
        out = append_scan(step, 1.0, 0.0, jnp.zeros(shape), XS, axis=axis)
        assert out[0] == 2 * (2 * 1 + 3 * 3 + 4 * 6)
    with pytest.raises(ValueError, match=r"history has 0 rows, fewer than the 4 steps"):
        append_scan(step, 1.0, 0.0, jnp.zeros(4), XS, axis=1)
