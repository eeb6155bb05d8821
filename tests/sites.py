"""Tokens and states that are valid for any rule at a memory site, and what a rule makes of them.

Tokens are dicts here, of what a rule takes by the name of the field or gate.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.memory.dense import dense
from plasticity.rules import RULES
from plasticity.tokens import prepared_shape
from plasticity.types import Token

STEPS, INPUTS, OUTPUTS = 8, 3, 2
SQUARE = ("ttt_linear", "ttt_mlp")  # rules that need as many outputs as inputs
# {gate: (whose size it has, least, largest)}; "key": it is drawn as keys are
GATES = {
    "error_key": ("key", 0, 1),
    "removal": ("key", 0, 1),
    "a": ("inputs", 0, 1),
    "ridge": ("inputs", 0.1, 1),
    "gamma": ("outputs", 0, 1),
    "shift": ("outputs", 0, 1),
}
NUMBER = ("", 0, 1)  # of any other
made = functools.cache(lambda name, **options: RULES[name](**options))


def token_of(given):
    """Tokens; what is not given has its default."""
    fields = {name: array for name, array in given.items() if name in Token._fields}
    return Token(**fields, gates={n: a for n, a in given.items() if n not in fields})


def draw(name, options, seed, steps=STEPS):
    """Tokens [T, ...] that are valid for a rule, with keys of unit length, and a state."""
    rng, rule = np.random.default_rng(seed), made(name, **options)
    site, form = rule.site, rule.form
    outputs = INPUTS if name in SQUARE else OUTPUTS
    lead = (steps,) if site.writes == 1 else (steps, site.writes)

    def unit(*shape):
        drawn = rng.normal(size=(*shape, INPUTS))
        return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)

    given = {"query": unit(steps), "key": unit(*lead), "value": rng.normal(size=(*lead, outputs))}
    if options.get("normalised"):
        given |= {name: np.abs(given[name]) for name in ("query", "key")}
    first = {n: a[0] for n, a in given.items()} | {"rate": np.ones(lead[1:])}
    shape = prepared_shape(site, token_of(first))
    per = {"scalar": (), "output": shape[:1], "input": shape[1:], "synapse": tuple(shape)}
    per_rate = per["output"] if form.keep in ("output", "synapse") else ()
    numbers = {"keep": (steps, *per[form.keep]), "rate": (*lead, *per_rate)}
    sizes = {"": (), "inputs": (INPUTS,), "outputs": (outputs,)}
    for gate in (taken.name for taken in site.takes or ()):
        size, least, largest = GATES.get(gate, NUMBER)
        if size == "key":
            given[gate] = unit(steps)
            continue
        drawn = rng.uniform(0.1, 0.9, numbers.get(gate, (steps, *sizes[size])))
        given[gate] = least + (largest - least) * drawn
    return given, draw_state(rule, rng, shape, scale=float(sum(shape) == INPUTS + outputs))


def draw_state(rule, rng, shape, scale):
    """A state for tokens of a shape. Outputs that `prepare` added are sums, which start at zero."""
    found = {}
    for layer, size in rule.site.layers(shape).items():
        empty = dense(form=rule.form).init(size, jnp.float32)
        drawn = jax.tree.map(lambda a: scale * rng.normal(size=a.shape), empty)
        settle = rule.form.settle or (lambda weight: weight)
        found[layer] = drawn._replace(weight=np.asarray(settle(drawn.weight)))
    return found[""] if list(found) == [""] else found


def slopes(results):
    """(given, state) -> gradients of a scalar of the results, and these."""

    def loss(given, state):
        found = results(given, state)
        leaves = jax.tree.leaves(found)
        return sum(jnp.cos(jnp.arange(a.size)) @ a.ravel() for a in leaves), found

    return jax.grad(loss, (0, 1), has_aux=True)


def mapped(run, given, state):
    """Of all episodes, whose first state is the same."""
    return jax.device_get(jax.jit(jax.vmap(run, (0, None)))(given, state))


def close(ours, theirs, tolerance=1e-10):
    """Relative to the largest number of an array, in each episode."""

    def one(ours, theirs):
        scale = np.maximum(np.abs(theirs).max(tuple(range(1, theirs.ndim)), keepdims=True), 1)
        np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=tolerance)

    jax.tree.map(one, ours, theirs)
