"""Likely mistakes of who uses the library in a network of their own: what each message says."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import plasticity as P
from plasticity.network import Parameters
from plasticity.unroll import run_episode

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


def of_own(left=None, **fields):
    """The answers of a rule of one's own that says nothing of `Site.linear`."""

    def write(token, read):
        error = token.value - read(token.key) if left is None else left(token, read)
        found = P.Write(error, token.key, token.rate, token.keep)
        return found._replace(**{name: field(token, read) for name, field in fields.items()})

    return P.associate(P.delta()._replace(site=P.Site(write)), TOKENS)


def gated(rule, **gates):
    return P.associate(rule, TOKENS._replace(gates=gates), chunk=0)


def at_site(rate, heads=()):
    """A step with a memory site that is given this rate."""
    pl = P.plastic(P.hebb(), sites={"m": (*heads, 2, 3)})

    def step(params, carry, x, fast):
        token = jax.tree.map(lambda a: jnp.broadcast_to(a, (*heads, *a.shape)), TOKEN)
        return carry, (fast.associate("m", token._replace(rate=rate)), x[0])

    return P.run(pl, step, (), pl.init(jax.random.key(0)), jnp.ones((2, 5, 3)))


def fewer_episodes():
    pl = P.plastic(P.hebbian(), {"out": (2, 3)}, memory="factored")
    params, theta, xs = jnp.ones((2, 3)), pl.init(jax.random.key(0)), jnp.ones((4, 5, 3))
    _, state = P.run(pl, forward, params, theta, xs)
    return P.run(pl, forward, params, theta, xs[:2], state)


def renamed(**fields):
    rule = P.delta()
    return P.associate(rule._replace(site=rule.site._replace(**fields)), TOKENS)


@dataclasses.dataclass(frozen=True)
class Plain(P.Settings):
    count: int = 3


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
        r"made for Form\(.*, but the rule writes Form\(.*: make the engine with form=rule.form",
    ),
    "swapped": (lambda: run(forward, swapped=True), r"theta.synapses\['out'\].alpha is missing"),
    "of episodes": (fewer_episodes, "state is of B=4 episodes, it should be of B=2"),
    "a saturated left": (
        lambda: of_own(lambda t, read: jnp.tanh(t.value - read(t.key))),
        "Site.linear must be False .*: `left` is not linear in what is read",
    ),
    "a product of reads": (
        lambda: of_own(lambda t, read: read(t.key) * read(t.query)), "`left` is not linear"
    ),
    "a rate of what is read": (
        lambda: of_own(rate=lambda t, read: read(t.key).sum()), "more than `left` depends on"
    ),
    "a key of what is read": (
        lambda: of_own(right=lambda t, read: t.key * read(t.key)[0]), "more than `left` depends on"
    ),
    "a transposed read": (
        lambda: of_own(lambda t, read: t.value - read(read(t.value, transposed=True))),
        "Site.linear must be False .*: it reads the transposed memory",
    ),
    "a transposed credit": (
        lambda: P.pullback(lambda read: read(KEYS[0], transposed=True), lambda x, layer="": x),
        "layer '' is read transposed: it has no credit for that",
    ),
    "an order": (
        lambda: renamed(order="read_after_writes"), "Site.order=.*did you mean 'read_after_write'"
    ),
    "asks": (lambda: renamed(asks="free"), "Site.asks='free' is unknown"),
    "a ridge for all": (
        lambda: gated(P.mesa(), ridge=jnp.ones((3, 1))),
        r"gates\['ridge'\] has shape \(3, 1\), it should be \(3, 3\)",
    ),
    "a momentum per input": (
        lambda: gated(P.titans(), momentum=jnp.ones((3, 3))),
        r"gates\['momentum'\] has shape \(3, 3\), it should be \(3,\)",
    ),
    "a rate at a site": (
        lambda: at_site(jnp.ones(5)), r"token of site 'm', as T=1 step: rate has shape \(1, 5\)"
    ),
    "a rate for heads": (
        lambda: at_site(jnp.ones(5), heads=(4,)), r"token of site 'm' has leaves .*the axes \[H\]"
    ),
    "no init": (
        lambda: P.network_of(P.plastic(P.hebbian(), {"o": (2, 3)}), forward).backbone.init(KEYS),
        "network_of was given no init=, which makes the params of forward",
    ),
    "a setting of numbers": (lambda: P.setting((1, 2), "sizes"), "must be a bool, int, float or"),
    "a plain field": (Plain, "count must be made by plasticity.setting"),
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


def test_python_numbers_and_a_carry_do_not_decide_the_type_of_inputs():
    """The first weight that has a type does."""
    pl, seen = P.plastic(P.hebbian(), {"out": (2, 3)}), []

    def step(params, carry, x, fast):
        seen.append(x.dtype)
        return carry, (fast("out", x, params["gain"] * (params["w"] @ x)), x[0])

    params = {"gain": 2.0, "w": jnp.ones((2, 3), jnp.bfloat16)}
    theta, xs = pl.init(jax.random.key(0)), jnp.ones((1, 5, 3))
    answers, _ = P.run(pl, step, params, theta, xs, carry=jnp.zeros(2, jnp.float32))
    assert {answers.dtype, *seen} == {jnp.dtype(jnp.bfloat16)}


def test_a_rule_that_may_write_nothing_keeps_what_it_is_given():
    state = P.associate(P.hebb(), TOKENS)[1]
    assert (P.associate(P.none(), TOKENS._replace(keep=0.5), state)[1].weight == state.weight).all()


def test_a_network_of_ones_own_makes_its_parameters():
    pl = P.plastic(P.hebbian(), {"out": (2, 3)})
    network = P.network_of(
        pl, forward, jnp.ones(2), init=lambda key: jax.random.normal(key, (2, 3))
    )
    slow = network.backbone.init(jax.random.key(0))
    assert (slow["carry"] == jnp.zeros(2)).all()
    params = Parameters(slow, pl.init(jax.random.key(1)))
    trace = run_episode(network, params, jnp.ones((5, 3)))
    assert trace.outputs.task.shape == (5, 2)


def test_help_has_the_equation_and_the_settings():
    text = P.delta.__doc__
    assert "M <- M + rate (value - M key) key^T" in text
    assert "eta0=0.2: largest learning rate of a write" in text
