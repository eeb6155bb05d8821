"""Likely mistakes of who uses the library in a network of their own: what each message says."""

import jax
import jax.numpy as jnp
import pytest

import plasticity as P

KEYS, VALUES = jnp.eye(3), jnp.ones((3, 2))
TOKENS = P.Token(KEYS, KEYS, VALUES)
TOKEN = jax.tree.map(lambda a: a[0], TOKENS)
SHAPE = P.LayerShape(2, 3)


def once(rule, opened, token, memory=P.dense()):
    fast = memory.init(SHAPE, jnp.float32)
    fast = memory.open(fast, SHAPE, 1) if opened else fast
    return P.associate_step(rule, memory, fast, token, 0)


def layer(x, **settings):
    return P.MemoryLayer("delta", P.MemoryLayerSettings(**settings)).init(jax.random.key(0), x)


def run(forward, swapped=False):
    pl = P.plastic(P.hebbian(), {"out": (2, 3)})
    both = jnp.ones((2, 3)), pl.init(jax.random.key(0))
    return P.run(pl, forward, *(both[::-1] if swapped else both), jnp.ones((2, 5, 3)))


def forward(params, carry, x, fast):
    return carry, (fast("out", x, params @ x), x[0])


MISTAKES = {
    "a name": (lambda: P.associate("delta", TOKENS), r"rule='delta' should be a Rule"),
    "not called": (lambda: P.associate(P.delta, TOKENS), r"rule=Factory.* should be a Rule, as"),
    "plastic by name": (lambda: P.plastic("hebbian", {"o": (2, 3)}), "should be a Rule"),
    "no setting": (lambda: P.delta(eta=1.0), "rule.eta is no setting: did you mean 'eta0'"),
    "no such rule": (lambda: P.deltas, "no attribute 'deltas': did you mean 'delta'"),
    "a memory as a layer": (lambda: P.plastic(P.titans(), {"o": (2, 3)}), "give sites="),
    "heads": (lambda: layer(jnp.ones((5, 8)), heads=3), "heads=3 must divide D=8"),
    "a batch": (lambda: layer(jnp.ones((2, 5, 8))), r"x is float32\[2, 5, 8\], .* \[T, D\]"),
    "integers": (lambda: layer(jnp.ones((5, 8), int)), r"x is int32\[5, 8\], .*floating"),
    "a matrix as state": (
        lambda: P.associate(P.delta(), TOKENS, jnp.zeros((2, 3))), "should be a TraceMatrix"
    ),
    "keep": (lambda: P.associate(P.delta(), TOKENS._replace(keep=0.9)), "keep is given"),
    "a gate": (
        lambda: P.associate(P.titans(), TOKENS._replace(gates={"mometum": jnp.ones(3)})),
        "mometum is given.*did you mean 'momentum'",
    ),
    "not opened": (lambda: once(P.delta(), False, TOKEN), "TraceMatrix, .*FastState.*memory.open"),
    "another form": (
        lambda: once(P.titans(), True, TOKEN._replace(gates={"momentum": jnp.array(0.1)})),
        r"Form\(momentum=False\): make it by ENGINE\(form=rule.form\)",
    ),
    "swapped": (lambda: run(forward, swapped=True), r"theta.synapses\['out'\].alpha is missing"),
    "no carry": (lambda: run(lambda *a: forward(*a)[1]), r"\(answer, modulator\) or Outputs"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name):
    mistake, message = MISTAKES[name]
    with pytest.raises((ValueError, TypeError, AttributeError), match=message):
        mistake()


def test_a_carry_that_was_not_given_is_told():
    with pytest.raises(TypeError) as error:
        run(lambda p, carry, x, fast: (carry + x, forward(p, carry, x, fast)[1]))
    assert "the carry is empty, as `run` was given none (carry=)" in error.value.__notes__[0]


def test_a_token_passes_through_scan_and_vmap():
    """A rate or a keep that is not given stays so."""

    def body(carry, x):
        return carry, P.Token(x, x, x[:2], jax.nn.sigmoid(x[0]))

    _, tokens = jax.lax.scan(body, (), KEYS)
    answers, _ = P.associate(P.delta(), tokens)
    rate = jax.nn.sigmoid(KEYS[:, 0])
    right, _ = P.associate(P.delta(), P.Token(KEYS, KEYS, KEYS[:, :2], rate))
    assert (answers == right).all()
    both = jax.tree.map(lambda a: jnp.stack([a, a]), TOKENS)
    answers, _ = jax.vmap(lambda t: P.associate(P.gated_delta(), t))(both)
    right, _ = P.associate(P.gated_delta(), TOKENS._replace(rate=1.0, keep=1.0))
    assert (answers == right).all()


def test_help_has_the_equation_and_the_settings():
    text = P.delta.__doc__
    assert "M <- M + rate (value - M key) key^T" in text
    assert "eta0=0.2: largest learning rate of a write" in text
