"""`append_scan` against `lax.scan`, which stores what it likes and is differentiated by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from plasticity.append_scan import append_scan
from plasticity.joint import Joint

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
    """Hears the carry, the history and the outputs."""
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
