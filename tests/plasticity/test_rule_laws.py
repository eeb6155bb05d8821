"""Laws that every rule at a memory site obeys. A new entry of RULES is tested by being there."""

import functools

import jax
import numpy as np
import pytest

from plasticity.associate import associate
from plasticity.rules import RULES
from tests.sample import sampled
from tests.sites import GATES, NUMBER, STEPS, close, draw, made, mapped, slopes, token_of

CHANGED = 5  # the step at which the first two episodes of `edges` differ
SITES = [name for name, rule in RULES.items() if rule().site is not None]
SETTINGS = [  # further ones that have code of their own
    ("hebb", {"normalised": True}),
    ("gated_delta", {"keep_per": "output"}),
    ("longhorn", {"form": "exact"}),
    ("titans", {"memory": "mlp", "frozen": 4, "hidden": 2}),
]


def every_case():
    """{what it is: (name, settings)}: by default and, if it can be, frozen for four tokens."""
    found = list(SETTINGS)
    for name in SITES:
        default = getattr(RULES[name].settings, "frozen", None)
        found += [(name, {})] if default in (None, 1) else []
        found += [(name, {"frozen": 4})] if default else []
    return {
        " ".join([name, *(f"{n}={v}" for n, v in options.items())]): (name, options)
        for name, options in found
    }


CASES = every_case()
FROZEN = [case for case, (_, options) in CASES.items() if options.get("frozen", 1) > 1]


def edges(given):
    """Tokens at the edges of what a rule takes; the first two differ in one token only."""
    other = {name: array.copy() for name, array in given.items()}
    for array in other.values():
        array[CHANGED] *= 0.5
    found = [given, other]
    for name, array in given.items():
        ends = (0,) if name in ("query", "key", "value") else GATES.get(name, NUMBER)[1:]
        found += [given | {name: np.full_like(array, end)} for end in ends]
    return [*found, given | {"key": np.broadcast_to(given["key"][:1], given["key"].shape)}]


def in_calls(rule, given, state, *, chunk, length=STEPS):
    """Answers and state of one episode, in calls of so many steps."""

    def call(state, piece):
        return associate(rule, token_of(piece), state, chunk=chunk)[::-1]

    pieces = {name: a.reshape(-1, length, *a.shape[1:]) for name, a in given.items()}
    state, answers = jax.lax.scan(call, state, pieces)
    return answers.reshape(STEPS, -1), state


def episodes(case):
    name, options = CASES[case]
    given, state = draw(name, options, seed=1)
    return jax.tree.map(lambda *a: np.stack(a), *edges(given)), state


@functools.cache
def found(case, **how):
    """Gradients, then answers and states, of `episodes`."""
    name, options = CASES[case]
    return mapped(
        slopes(functools.partial(in_calls, made(name, **options), **how)), *episodes(case)
    )


def both_ways(case):
    """By the definition; and in two calls, each of two chunks, the last shorter, or one stretch."""
    return found(case, chunk=0), found(case, chunk=3, length=4)


# One case of a rule, by default for rules of each kind: in stretches where it has them, of which
# those of one token are online (below). The recorded traces hold the other forms to their chunks.
CHOSEN = [
    case
    for case in CASES
    if case != "none" and (case in FROZEN or not CASES[case][1]) and f"{case} frozen=4" not in CASES
]
QUICK = (
    "hebb",
    "delta",
    "kda",
    "delta_product",
    "rwkv7",
    "mesa",
    "titans frozen=4",
    "srwm",
    "yaad frozen=4",
    "oja_gated",
)  # a rule of each kind
ONE_EACH = [
    *sampled(CHOSEN, QUICK.__contains__, "thorough"),
    *sampled((case for case in CASES if case not in CHOSEN), lambda case: False),
]


@pytest.mark.parametrize("case", ONE_EACH)
def test_chunks_and_calls_are_steps(case, x64):
    exact, in_two = both_ways(case)
    close(in_two, exact)


# One step, and more than there are. By default for a rule of each kind.
EDGES = [(case, chunk) for case in CASES for chunk in (1, STEPS + 1)]
KINDS = ("gated_delta", "mesa", "titans frozen=4")


@pytest.mark.parametrize(("case", "chunk"), sampled(EDGES, lambda edge: edge[0] in KINDS))
def test_so_are_chunks_of_extreme_lengths(case, chunk, x64):
    rule = made(CASES[case][0], **CASES[case][1])
    shown = mapped(functools.partial(in_calls, rule, chunk=chunk), *episodes(case))
    close(shown, found(case, chunk=0)[1])


@pytest.mark.parametrize("case", FROZEN)
def test_stretches_of_one_token_are_online(case, x64):
    name, options = CASES[case]
    online = functools.partial(in_calls, made(name, **options | {"frozen": 1}), chunk=0)
    frozen = functools.partial(in_calls, made(name, **options), chunk=1, length=1)
    close(*(mapped(run, *episodes(case)) for run in (frozen, online)))


@pytest.mark.parametrize("case", ONE_EACH)
def test_all_is_finite_at_the_edges(case, x64):
    for leaf in jax.tree.leaves(both_ways(case)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("case", ONE_EACH)
def test_no_answer_knows_a_later_token(case, x64):
    """Not even of the same chunk or stretch."""
    for _, (answers, _) in both_ways(case):
        first, other = answers[:2]
        np.testing.assert_allclose(first[:CHANGED], other[:CHANGED], rtol=1e-13, atol=1e-13)
        assert CASES[case][0] == "none" or np.abs(first - other)[CHANGED:].max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_long_episodes_stay_finite_in_float32(case):
    """Where the rule itself does not explode: deep memories need small rates, Moneta large ones."""
    name, options = CASES[case]
    given, state = jax.tree.map(np.float32, draw(name, options, seed=1, steps=4096))
    if isinstance(state, dict) and "rate" in given:
        given |= {"rate": given["rate"] / 8}
    rule = made(name, **options)
    run = jax.jit(slopes(lambda given, state: associate(rule, token_of(given), state)))
    for leaf in jax.tree.leaves(run(given, state)):
        assert leaf.dtype == np.float32
        assert np.isfinite(leaf).all()


MOST_AXES = {"reduce_sum": 3, "dot_general": 4}


def sums(jaxpr):
    """The equations that sum over axes, those inside of others included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in MOST_AXES:
            yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns")):
            if hasattr(inner, "eqns"):
                yield from sums(inner)


@pytest.mark.parametrize("case", sampled(CASES, lambda case: case in KINDS))
def test_sums_have_few_axes(case):
    """On CPUs, XLA crashes at sums over arrays of seven axes if one of them has size 1.

    `jax.vmap` over seeds, episodes and heads adds three. (jaxlib 0.10.2)
    """
    name, options = CASES[case]
    given, state = draw(name, options, 0)
    run = slopes(lambda g, s: associate(made(name, **options), token_of(g), s, chunk=4))
    for equation in sums(jax.make_jaxpr(run)(given, state).jaxpr):
        most = MOST_AXES[equation.primitive.name]
        assert max(v.aval.ndim for v in equation.invars) <= most, equation
