"""Memory sites at their edges: few bits, gates that vanish, rules of one's own, wrong widths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import plasticity as P
from plasticity.associate import associate, initial_state
from plasticity.features import unit
from plasticity.model.convolution import Inputs, ShortConvolution
from plasticity.model.memory_settings import MemoryLayerSettings
from plasticity.site_steps import associate_step
from plasticity.types import KEEP, RATE, Form, Site, Token, Write


def some(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_one_step_of_a_convolution_has_the_type_of_several(dtype, x64):
    x, past = some(3, 2).astype(dtype), Inputs(some(2, 2, seed=1).astype(dtype), jnp.arange(2))
    module = ShortConvolution(3)
    params = jax.tree.map(
        lambda a: a.astype(dtype),
        module.init(jax.random.key(0), x, [past], 2 + jnp.arange(3), False),
    )
    whole = module.apply(params, x, [past], 2 + jnp.arange(3), False)
    one = module.apply(params, x[:1], [past], jnp.array([2]), False)
    assert one.dtype == whole.dtype == dtype
    np.testing.assert_allclose(one[0], whole[0], rtol=1e-2 if dtype == jnp.bfloat16 else 1e-6)
    assert module.apply(params, x[:1], [], jnp.array([0]), False).dtype == dtype


def test_values_of_a_network_of_ones_own_are_floating():
    plastic = P.plastic(P.hebb(), sites={"memory": (3, 3)})

    def step(slow, carry, x, fast):
        return carry, (fast.associate("memory", Token(x, x, jnp.array([1, 2, 3]), 0.5)), slow)

    with pytest.raises(ValueError, match="'memory': value has dtype int32, not a floating one"):
        P.run(plastic, step, jnp.zeros(()), plastic.init(jax.random.key(0)), jnp.ones((1, 2, 3)))


@pytest.mark.parametrize("make", [lambda: P.delta_product(), lambda: P.titans(frozen=4)])
def test_rules_that_take_no_single_steps_are_refused_at_once(make):
    with pytest.raises(ValueError, match="takes no single steps: `associate` takes its tokens"):
        P.plastic(make(), sites={"memory": (2, 3)})


def test_a_reach_is_no_single_step():
    rule, memory = P.ttt_linear(frozen=1), P.dense(form=P.ttt_linear().form)
    shape = P.LayerShape(3, 3)
    state = memory.open(memory.init(shape, jnp.float32), shape, 1)
    with pytest.raises(ValueError, match=r"and a Site\.reach takes no single steps"):
        associate_step(rule, memory, state, Token(some(3), some(3), some(3)), 0)


@pytest.mark.thorough
@pytest.mark.parametrize("settings", [{"keep": "sigmoid"}, {}])
def test_a_keep_that_vanishes_has_a_gradient(settings):
    layer = P.MemoryLayer("gated_delta", MemoryLayerSettings(heads=1, **settings))
    x = some(5, 4)
    params = layer.init(jax.random.key(0), x)

    def lowered(path, a):
        keys = [getattr(k, "key", "") for k in path]
        return a - 95.0 if any("keep" in k for k in keys) and keys[-1] == "bias" else a

    before, params = params, jax.tree_util.tree_map_with_path(lowered, params)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (before, params)), strict=True))
    grads = jax.grad(lambda p: (layer.apply(p, x)[0] ** 2).sum())(params)
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(grads))


def own(form=Form(), **fields):
    """A rule that writes values at keys."""

    def write(token, read):
        return Write(token.value - read(token.key), token.key, token.rate, token.keep)

    return P.delta()._replace(form=form, site=Site(write, takes=(RATE, KEEP), **fields))


def fixed(form=Form(), **fields):
    """The same for stretches of three tokens, answered from the state before; nothing decays."""
    order = "read_before_stretch" if "tokens" in fields else "read_after_write"
    rule = own(form, frozen=3, order=order, **fields)

    def write(token, read):
        error = token.value - read(token.key)
        return Write(error, token.key, token.rate, jnp.ones(()), 0.5 if form.momentum else None)

    return rule._replace(site=rule.site._replace(write=write, takes=(RATE,)))


@pytest.mark.parametrize(
    ("rule", "keep"),
    [
        (own(Form("input"), asks="freely"), some(12, 3)),
        (own(linear=False, frozen=3, reach=lambda token: 0.5), some(12)),
        (own(linear=False, frozen=3, reach=lambda token: 0.5, order="read_before_write"), None),
        (fixed(Form(momentum=True), linear=False, reach=lambda token: 0.5), None),
        (fixed(tokens=lambda token, read: {"": token}, reach=lambda token: 0.5), None),
        (fixed(Form(to_weights=jnp.tanh), tokens=lambda token, read: {"": token}), None),
        (fixed(Form(bias=True), tokens=lambda token, read: {"": token}), None),
    ],
)
def test_chunks_change_no_result_of_a_rule_of_ones_own(rule, keep):
    if KEEP in rule.site.takes:
        keep = jax.nn.sigmoid(jnp.ones(12) if keep is None else keep)
    tokens = Token(some(12, 3), unit(some(12, 3, seed=1)), some(12, 2, seed=2), 0.5, keep)
    (one, after_one), (other, after_other) = (associate(rule, tokens, chunk=c) for c in (0, 4))
    np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(after_one.weight, after_other.weight, atol=1e-5)


@pytest.mark.parametrize("reset", [None, [False] * 8])
def test_where_no_step_counts_memora_leaves_its_state(reset):
    rule = P.memora(frozen=4)
    state = initial_state(P.hebb(), Token(some(8, 3), some(8, 3), some(8, 2)))
    state = state._replace(weight=some(2, 3))
    tokens = Token(some(8, 3), some(8, 3), some(8, 2), 0.1)
    marks = {"valid": jnp.zeros(8, bool)}
    if reset is not None:
        marks |= {"reset": jnp.array(reset), "initial": state}
    for chunk in (0, 4):
        _, after = associate(rule, tokens, state, chunk=chunk, **marks)
        np.testing.assert_array_equal(after.weight, state.weight)


def test_what_lacks_is_named():
    tokens = Token(some(4, 2), some(4, 2), some(4, 2))
    state = initial_state(P.hebb(), tokens)
    with pytest.raises(ValueError, match="give `state`, the memory before the first step"):
        associate(P.oja(), tokens._replace(rate=0.1))
    with pytest.raises(ValueError, match="give `initial`, the memory before the first step"):
        associate(P.oja(), tokens._replace(rate=0.1), state, reset=jnp.zeros(4, bool))


@pytest.mark.parametrize("settings", [{}, {"map": "mirror", "norm_exponent": 1.5}])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30])
def test_moneta_at_any_size_of_its_state(settings, scale):
    rule = P.moneta(**settings)
    direction = some(2, 3)
    weights = rule.form.to_weights(scale * direction)
    assert jnp.isfinite(weights).all()
    degree = 1 if settings else 3 - 4  # of `mirror`, and of `printed` with q = 4
    if scale and abs(np.log10(scale) * degree) < 35:
        expected = rule.form.to_weights(direction) * np.float64(scale) ** degree
        np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_the_smooth_slope_of_no_error_has_a_gradient():
    rule = P.moneta(smooth=True, smoothing=0.0, loss_exponent=2.0, norm_exponent=2.0)
    state = initial_state(P.hebb(), Token(some(3, 2), some(3, 2), some(3, 2)))
    state = state._replace(weight=some(2, 2, seed=4))
    key, value = (some(3, 2, seed=s).at[1].set(0) for s in (1, 2))

    def loss(key, value):
        return (associate(rule, Token(key, key, value, 0.1), state)[0] ** 2).sum()

    assert all(jnp.isfinite(g).all() for g in jax.grad(loss, (0, 1))(key, value))


def test_settings_of_memora_may_be_traced():
    tokens = Token(some(3, 2), some(3, 2), some(3, 2), 0.1)
    state = initial_state(P.hebb(), tokens)

    def answers(total):
        return associate(P.memora(total=total), tokens, state)[0]

    one, other = (f(2.0) for f in (answers, jax.jit(answers)))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_whole_number_of_1_is_no_keep():
    tokens = Token(some(3, 2), some(3, 2), some(3, 2), 0.5)
    one, _ = associate(P.delta(), tokens._replace(keep=1))
    np.testing.assert_array_equal(one, associate(P.delta(), tokens)[0])
    with pytest.raises(ValueError, match="keep is given"):
        associate(P.delta(), tokens._replace(keep=2))


@pytest.mark.parametrize(
    "make", [lambda: P.ttt_linear(), lambda: P.titans(memory="residual_mlp"), lambda: P.ttt_mlp()]
)
def test_key_and_value_of_one_width(make):
    rule = make()
    gates = {
        "token_rate": jnp.ones(3), "gamma": jnp.ones((3, 2)), "shift": jnp.zeros((3, 2)),
        "momentum": jnp.zeros(3),
    }  # fmt: skip
    taken = {gate.name for gate in rule.site.takes}
    tokens = Token(some(3, 4), some(3, 4), some(3, 2), 0.1)
    tokens = tokens._replace(gates={n: g for n, g in gates.items() if n in taken})
    with pytest.raises(ValueError, match="key has width 4 and value 2, they should be equal"):
        associate(rule, tokens, {})


def test_a_layer_without_a_convolution_is_one_of_one_step():
    x, key = some(6, 4), jax.random.key(0)
    layer = P.MemoryLayer("delta", MemoryLayerSettings(heads=2, convolution=0))
    params = jax.jit(layer.init)(key, x)
    whole, state = jax.jit(layer.apply)(params, x)
    first, after = layer.apply(params, x[:4])
    rest, after = layer.apply(params, x[4:], after)
    np.testing.assert_allclose(jnp.concatenate([first, rest]), whole, atol=1e-5)
    np.testing.assert_allclose(after.memory[""].weight, state.memory[""].weight, atol=1e-5)


def test_marks_of_a_layer_are_named():
    layer, x = P.MemoryLayer("delta", MemoryLayerSettings(heads=1)), some(6, 4)
    with pytest.raises(
        ValueError, match=r"reset has shape \(3,\) and dtype bool, it should be \(6,\)"
    ):
        layer.init(jax.random.key(0), x, reset=jnp.zeros(3, bool))


def test_a_chunk_is_no_traced_number():
    tokens = Token(some(4, 2), some(4, 2), some(4, 2))
    with pytest.raises(ValueError, match="of associate should be a whole number"):
        jax.jit(lambda c: associate(P.delta(), tokens, chunk=c))(2)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_keys_of_few_bits_have_unit_length(dtype):
    large = unit(jnp.array([300.0, 400.0], dtype))
    assert large.dtype == dtype
    np.testing.assert_allclose(large.astype(jnp.float32), [0.6, 0.8], rtol=5e-3)


@pytest.mark.thorough
def test_keeps_of_a_layer_in_bfloat16_are_below_1():
    layer, x = P.MemoryLayer("gated_delta", MemoryLayerSettings()), some(512, 16)
    params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), layer.init(jax.random.key(0), x))
    keeps = []

    def seen(next_call, args, kwargs, context):
        result = next_call(*args, **kwargs)
        if context.module.name == "gates_keep":
            keeps.append(result)
        return result

    with nn.intercept_methods(seen):
        layer.apply(params, x.astype(jnp.bfloat16))
    (keep,) = [k for k in keeps if isinstance(k, jax.Array)][:1]
    assert keep.dtype == jnp.float32
    assert (keep < 1).all()


def test_a_layer_that_is_read_twice_has_no_credit():
    """Its credit would be the sum of both, and its input that of one."""
    weight, x = jnp.full((2, 2), 0.1), jnp.ones(2)

    def read(x, layer=""):
        return weight @ x

    with pytest.raises(ValueError, match="layer 'a' is read twice"):
        P.credit(lambda read: (read(jnp.tanh(read(x, "a")), "a") ** 2).sum(), read)
