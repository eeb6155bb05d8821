"""Which rules at memory sites are special cases of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.associate import associate
from plasticity.memory.dense import dense
from plasticity.memory.history import trace_after
from plasticity.rules import RULES
from plasticity.tokens import prepared_shape
from plasticity.types import Activity, LayerShape
from tests.sites import INPUTS, OUTPUTS, STEPS, close, draw, made, mapped, slopes, token_of


def at(name, given, weight, **options):
    """Answers and weights of a rule whose first weights are these, as far as they go."""
    rule = made(name, **options)
    first = token_of({n: a[0] for n, a in given.items()})
    shapes, state = rule.site.layers(prepared_shape(rule.site, first)), {}
    for layer, shape in shapes.items():
        empty = dense(form=rule.form).init(shape, weight.dtype)
        state[layer] = empty._replace(weight=jnp.resize(weight, shape))
    answers, after = associate(rule, token_of(given), state, chunk=0)
    return answers, {layer: trace.weight for layer, trace in after.items()}


def without(given, *names, **others):
    """Tokens without some of their fields, and with others."""
    return {name: array for name, array in given.items() if name not in names} | others


def each(array, size):
    return jnp.repeat(array[..., None], size, -1)


def titans(t, w, momentum=0.0, **options):
    return at("titans", t | {"momentum": jnp.full(STEPS, momentum)}, w, **options)


def yaad(t, w, **options):
    return at("yaad", t | {"threshold": jnp.full(STEPS, jnp.inf)}, w, **options)


def moneta(t, w, kind):
    halved = t | {"rate": t["rate"] / 2}  # the slope of |e|^2 is 2 e
    return at("moneta", halved, w, map=kind, loss_exponent=2.0, norm_exponent=2.0)


def delta_product_flat(t, w):
    """Two writes per token as tokens of their own, of which the second forgets nothing."""
    keep = jnp.where(jnp.arange(STEPS) % 2, 1, t["keep"])
    answers, after = at("gated_delta", t | {"keep": keep}, w)
    return answers[1::2], after


def in_pairs(t):
    pairs = {n: t[n].reshape(STEPS // 2, 2, *t[n].shape[1:]) for n in ("key", "value", "rate")}
    return pairs | {"query": t["query"][1::2], "keep": t["keep"][::2]}


def longhorn(t, w, form):
    return at("longhorn", without(t, "keep", rate=each(t["rate"], OUTPUTS)), w, form=form)


def bounded(t):
    """The rate of a delta rule that is Longhorn's."""
    return t["rate"] / (1 + t["rate"] * (t["key"] ** 2).sum(-1))


def of_one_input(t):
    return t | {"query": t["query"][:, :1], "key": t["key"][:, :1]}


def as_removal(t):
    """RWKV-7 takes its error at the undecayed state: the decay is in what it removes."""
    keep = each(t["keep"], INPUTS) * jnp.linspace(0.5, 1, INPUTS)
    rate = t["rate"][:, None]
    own = {"key": rate * t["key"], "removal": keep * t["key"], "a": rate / keep}
    return without(t, "rate", keep=keep, **own), t | {"keep": keep}


def scaled_keys(t, share):
    return t | {"key": t["key"] * (1 + (t["a"] - 1) * share)}


def exchanged(t):
    """The gated Oja rule, and the rule that has its state, whose answers are others."""
    keep = each(t["keep"], OUTPUTS) * jnp.linspace(0.5, 1, OUTPUTS)
    kda = t | {"query": t["value"], "key": t["value"], "value": t["key"], "keep": keep}
    return t | {"keep": keep}, kda


MLP = {"memory": "mlp", "frozen": 3, "hidden": 2}
# {law: (tokens with one rate and keep per step, weights) -> two results that are equal}
LAWS = {
    "gated_delta with keep 1 is delta": lambda t, w: (
        at("gated_delta", t | {"keep": jnp.ones(STEPS)}, w),
        at("delta", without(t, "keep"), w),
    ),
    "gated_delta with equal keeps and rates per output": lambda t, w: (
        at(
            "gated_delta",
            t | {n: each(t[n], OUTPUTS) for n in ("rate", "keep")},
            w,
            keep_per="output",
        ),
        at("gated_delta", t, w),
    ),
    "kda with equal channels is gated_delta": lambda t, w: (
        at("kda", t | {"keep": each(t["keep"], INPUTS)}, w),
        at("gated_delta", t, w),
    ),
    "hebb with equal channels": lambda t, w: (
        at("hebb", t | {"keep": each(t["keep"], INPUTS)}, w, keep_per="input"),
        at("hebb", t, w),
    ),
    "comba whose error has the same key is gated_delta": lambda t, w: (
        at("comba", t | {"error_key": t["key"]}, w),
        at("gated_delta", t, w),
    ),
    "comba that reads before the decay, by a decayed key": lambda t, w: (
        at("comba", t | {"error_key": t["keep"][:, None] * t["query"]}, w, error="undecayed"),
        at("comba", t | {"error_key": t["query"]}, w),
    ),
    "comba that is corrected answers another query": lambda t, w: (
        at("comba", t | {"error_key": t["key"], "correction": t["rate"]}, w, corrected=True),
        at("gated_delta", t | {"query": t["query"] - t["rate"][:, None] * t["key"]}, w),
    ),
    "rwkv7 that scales its keys": lambda t, w: (
        at("rwkv7", as_removal(t)[0] | {"share": each(t["keep"], INPUTS)}, w, scaled=True),
        at("rwkv7", scaled_keys(as_removal(t)[0], each(t["keep"], INPUTS)), w),
    ),
    "delta_product of one write is gated_delta": lambda t, w: (
        at("delta_product", t, w, writes=1),
        at("gated_delta", t, w),
    ),
    "delta_product of two writes is gated_delta of twice the tokens": lambda t, w: (
        at("delta_product", in_pairs(t), w, writes=2),
        delta_product_flat(t, w),
    ),
    "rwkv7 that removes keep * key is kda": lambda t, w: (
        at("rwkv7", as_removal(t)[0], w),
        at("kda", as_removal(t)[1], w),
    ),
    "oja_gated has the state of kda with keys and values exchanged": lambda t, w: (
        at("oja_gated", exchanged(t)[0], w)[1],
        at("kda", exchanged(t)[1], w)[1],
    ),
    "longhorn of equal rates is delta with a bounded rate": lambda t, w: (
        longhorn(t, w, "exact"),
        at("delta", without(t, "keep", rate=bounded(t)), w),
    ),
    "dgd of a product is longhorn of equal rates": lambda t, w: (
        at("dgd", t | {"keep": jnp.ones(STEPS)}, w, loss="product"),
        longhorn(t, w, "exact"),
    ),
    "dgd of squares is delta of half the value at twice the bounded rate": lambda t, w: (
        at("dgd", t | {"keep": jnp.ones(STEPS)}, w),
        at("delta", without(t, "keep", rate=2 * bounded(t), value=t["value"] / 2), w),
    ),
    "dgd of a product is gated_delta, rate and value rescaled": lambda t, w: (
        at("dgd", t, w, loss="product"),
        at(
            "gated_delta",
            t | {"rate": bounded(t) / t["keep"], "value": t["value"] * t["keep"][:, None]},
            w,
        ),
    ),
    "a level has the state of frozen titans without decay or momentum": lambda t, w: (
        at("level", without(t, "keep"), w, **MLP)[1],
        titans(t | {"keep": jnp.ones(STEPS)}, w, **MLP)[1],
    ),
    "longhorn of one input is exact as trained": lambda t, w: (
        longhorn(of_one_input(t), w, "diagonal"),
        longhorn(of_one_input(t), w, "exact"),
    ),
    "titans without momentum is gated_delta, rate and value rescaled": lambda t, w: (
        titans(t | {"rate": t["rate"] * t["keep"], "value": t["value"] / t["keep"][:, None]}, w),
        at("gated_delta", t, w),
    ),
    "yaad of no threshold is titans without momentum": lambda t, w: (yaad(t, w), titans(t, w)),
    "also if deep and frozen": lambda t, w: (yaad(t, w, **MLP), titans(t, w, **MLP)),
    "also with the slope as printed": lambda t, w: (yaad(t, w, tail="printed"), titans(t, w)),
    "moneta of squares is titans without momentum": lambda t, w: (
        moneta(t, w, "printed"),
        titans(t, w),
    ),
    "also with the mirror map": lambda t, w: (moneta(t, w, "mirror"), titans(t, w)),
}


@pytest.mark.parametrize("law", LAWS)
def test_a_rule_is_a_special_case_of_another(law, x64):
    drawn = [draw("gated_delta", {}, seed) for seed in range(3)]
    tokens = jax.tree.map(lambda *a: np.stack(a), *(given for given, _ in drawn))
    weight = drawn[0][1].weight

    def both(t, w):
        return [slopes(lambda t, w, of=of: LAWS[law](t, w)[of])(t, w) for of in (0, 1)]

    ours, theirs = mapped(both, tokens, weight)
    close(ours, theirs)
    assert all(np.abs(a).max() > 1e-3 for a in jax.tree.leaves(theirs[1]))


def test_the_hebbian_rule_of_layers_is_hebb(x64):
    """With its rate and keep, which depend on the size of each write and on the modulator."""
    given, _ = draw("gated_delta", {}, 1)
    rule, shapes = RULES["hebbian"](), {"a": LayerShape(OUTPUTS, INPUTS)}
    theta = rule.init(jax.random.key(0), shapes, 1)

    def write(modulator, pre, post):
        return rule.write(theta, modulator, {"a": Activity(pre, *(post,) * 4)})["a"]

    def layers(key, value):
        writes = jax.vmap(write)(given["rate"], key, value)
        return trace_after(shapes["a"], writes).weight, (writes.rate, writes.keep)

    weight, (rate, keep) = jax.jit(layers)(given["key"], given["value"])
    _, after = at("hebb", given | {"rate": rate, "keep": keep}, jnp.zeros((OUTPUTS, INPUTS)))
    close(after[""], weight)
