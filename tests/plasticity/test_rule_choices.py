"""Every rule with every choice of its settings, in memory layers and at sites of a network."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import plasticity as P
from plasticity.rules import RULES
from tests.sample import sampled


def choices():
    """(rule, {setting: one of its choices}) of all rules that have a meaning at a site."""
    for name, factory in RULES.items():
        if factory().site is None:
            continue
        yield name, {}
        for field in dataclasses.fields(factory.settings):
            about = field.metadata["about"]
            both = (True, False) if isinstance(field.default, bool) else about.choices
            for choice in set(both) - {field.default}:
                yield name, {field.name: choice}


def reads_gates_first(case):
    """Whether the tokens are prepared with gates that the shape of a memory is not made of."""
    return case in [("comba", {"corrected": True}), ("rwkv7", {"scaled": True})]


CHOICES = sampled(sorted(choices(), key=str), reads_gates_first, "thorough")


@pytest.mark.parametrize(("name", "chosen"), CHOICES)
def test_every_choice_makes_a_layer_and_a_site(name, chosen):
    """Traced, not computed."""
    try:
        rule = RULES[name](**chosen)
    except ValueError as error:
        pytest.skip(f"it needs other settings, too: {error}")
    layer, x = P.MemoryLayer(rule, P.MemoryLayerSettings(heads=2)), jnp.ones((5, 8))

    def applied(key):
        answers, _ = layer.apply(layer.init(key, x), x)
        return answers

    assert jax.eval_shape(applied, jax.random.key(0)).shape == (5, 8)
    site = rule.site
    if not site.empty or site.frozen > 1 or site.writes > 1 or site.reach is not None:
        with pytest.raises(ValueError, match=r"(does not start empty|takes no single steps)"):
            P.plastic(rule, sites={"memory": (3, 3)}, memory="dense")
        return
    plastic = P.plastic(rule, sites={"memory": (3, 3)}, memory="dense")
    assert plastic.site_shapes()["memory"].heads == 1


@pytest.mark.parametrize("rate", [None, 0.5, jnp.full(6, 0.5), jnp.full((6, 2), 0.5)])
@pytest.mark.parametrize("form", ["diagonal", "exact"])
def test_longhorn_takes_one_rate_for_all_outputs(form, rate):
    keys, values = jnp.eye(6)[:, :3], jnp.ones((6, 2))
    rule = P.longhorn(form=form)
    answers, _ = P.associate(rule, P.Token(keys, keys, values, rate))
    spread = jnp.full((6, 2), 1.0 if rate is None else 0.5)
    right, _ = P.associate(rule, P.Token(keys, keys, values, spread))
    assert (answers == right).all()


@pytest.mark.parametrize("alpha", ["per_synapse", "per_neuron"])
def test_forward_mode_agrees_with_reverse_mode(alpha, x64):
    """With the engine dense, by theta; also forward over reverse."""
    plastic = P.plastic(P.hebbian(alpha=alpha), {"out": (2, 3)}, memory="dense")
    xs, w = jax.random.normal(jax.random.key(1), (4, 5, 3)), jnp.ones((2, 3))
    theta = jax.tree.map(jnp.float64, plastic.init(jax.random.key(0)))
    other = jax.tree.map(lambda a: jnp.cos(jnp.arange(a.size)).reshape(a.shape), theta)

    def forward(params, carry, x, fast):
        return carry, (fast("out", x, params @ x), x[0])

    def loss(theta):
        return (P.run(plastic, forward, w, theta, xs)[0] ** 2).sum()

    def along(grads):
        return sum(
            jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (grads, other)), strict=True)
        )

    _, slope = jax.jvp(loss, (theta,), (other,))
    assert slope == pytest.approx(float(along(jax.grad(loss)(theta))), rel=1e-9)
    _, curved = jax.jvp(lambda t: along(jax.grad(loss)(t)), (theta,), (other,))
    assert curved == pytest.approx(
        float(along(jax.grad(lambda t: along(jax.grad(loss)(t)))(theta))), rel=1e-9
    )
