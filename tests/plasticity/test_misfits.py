"""Parts that do not fit together: what each message says. Others are in `test_misuse.py`."""

import jax
import jax.numpy as jnp
import pytest

import plasticity as P
from plasticity.interventions import silence
from plasticity.network import Parameters
from plasticity.types import Gate
from plasticity.unroll import run_episode
from tests.plasticity.test_misuse import KEYS, TOKEN, forward, layer, once, renamed


def changed_run(change):
    """A run of a network that is changed before."""
    pl = P.plastic(P.hebbian(), {"out": (2, 3)})
    net = change(P.network_of(pl, forward))
    params = Parameters({"params": jnp.ones((2, 3)), "carry": ()}, pl.init(jax.random.key(0)))
    return run_episode(net, params, jnp.ones((5, 3)))


def other_layer(outputs=2, inputs=3):
    """A run that goes on from the state of a layer of another size."""
    pl = P.plastic(P.hebbian(), {"out": (2, 3)}, memory="factored")
    other = P.plastic(P.hebbian(), {"out": (outputs, inputs)}, memory="factored")
    theta, theta_2 = (plastic.init(jax.random.key(0)) for plastic in (pl, other))
    xs = jnp.ones((2, 5, inputs))
    _, state = P.run(other, forward, jnp.ones((outputs, inputs)), theta_2, xs)
    return P.run(pl, forward, jnp.ones((2, 3)), theta, jnp.ones((2, 5, 3)), state)


def other_heads():
    four, two = (P.MemoryLayer("delta", P.MemoryLayerSettings(heads=n)) for n in (4, 2))

    def goes_on(x, key):
        _, state = two.init_with_output(key, x)[0]
        return four.apply(four.init(key, x), x, state)

    return jax.eval_shape(goes_on, jnp.ones((5, 8)), jax.random.key(0))


def gate_of_no_kind():
    rule = P.delta()
    site = rule.site._replace(takes=(*rule.site.takes, Gate("g", "nope")))
    layer = P.MemoryLayer(rule._replace(site=site))
    return layer.init(jax.random.key(0), jnp.ones((5, 8)))


MISFITS = {
    "a map that the engine does not know": (
        lambda: once(P.memora(), True, TOKEN), "make the engine with form=rule.form"
    ),
    "a keep of a step": (lambda: once(P.delta(), True, TOKEN._replace(keep=0.5)), "keep is given"),
    "a step without its gate": (
        lambda: once(P.comba(), True, TOKEN), "gates lack 'error_key'"
    ),
    "a step of one layer": (
        lambda: once(P.srwm(), True, TOKEN, P.dense(form=P.srwm().form)),
        r"fast has layers \[''\], it should have \['y', ",
    ),
    "an answer at another key": (
        lambda: renamed(answer=lambda token, read: read(-token.query)),
        "Site.asks='query' must be 'freely': Site.answer reads something else than the memory at",
    ),
    "a transposed answer": (
        lambda: renamed(answer=lambda token, read: read(token.query, transposed=True)),
        "Site.asks='query' must be 'freely'",
    ),
    "a keep of the form": (lambda: P.dense(form=P.Form(keep="outputs")), "did you mean 'output'"),
    "a bound": (lambda: P.setting(1.0, "x", maximum=2), "bound of a setting='maximum' is unknown"),
    "a setting without its name": (lambda: P.hebbian(1.0), "takes its settings by name"),
    "a meta-gradient": (
        lambda: changed_run(lambda net: net._replace(meta_gradient="truncate")),
        "meta_gradient='truncate' is unknown: did you mean 'truncated'",
    ),
    "a rule that writes nothing": (
        lambda: changed_run(lambda net: net._replace(rule=net.rule._replace(write=lambda *a: {}))),
        r"Rule.write returned writes of the layers \[\], it should write \['out'\]",
    ),
    "silence of no layer": (
        lambda: changed_run(lambda net: net._replace(intervention=silence({"ou": KEYS[0] > 0}))),
        "layer to silence='ou' is unknown: did you mean 'out'",
    ),
    "a state of other inputs": (
        lambda: other_layer(inputs=4), r"right is \[2, 5, 4\], it should be \[2, 5, 3\]"
    ),
    "a state of other outputs": (
        lambda: other_layer(outputs=5), r"left is \[2, 5, 5\], it should be \[2, 5, 2\]"
    ),
    "tokens beside a memory": (
        lambda: layer(jnp.ones((5, 8)), persistent=3),
        "MemoryLayerSettings.persistent=3 must be 0: a MemoryLayer has no attention beside",
    ),
    "a layer's state of other heads": (other_heads, r"state.memory.*weight is \[2, 4, 4\]"),
    "a kind of gate": (gate_of_no_kind, "kind of the gate 'g'='nope' is unknown"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_a_misfit_is_named(name):
    misfit, message = MISFITS[name]
    with pytest.raises((ValueError, TypeError), match=message):
        misfit()
