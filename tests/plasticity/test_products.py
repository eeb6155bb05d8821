"""Products of memory sites in bfloat16, with sums and the state in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.associate import associate
from plasticity.rules import RULES
from plasticity.unroll import MATMUL_PRECISIONS
from tests.conftest import GOLDEN
from tests.rounding import as_rounded
from tests.sample import sampled
from tests.sites import token_of

TAKES = {"delta": {"rate": 0.1}, "gated_delta": {"rate": 0.1, "keep": 0.9}}
TAKES["titans"] = TAKES["gated_delta"] | {"momentum": 0.1}
in_bfloat16 = functools.partial(jax.default_matmul_precision, MATMUL_PRECISIONS["bfloat16"])


def draw(name, steps, size):
    """Keys and queries of unit length; numbers between the least ones of TAKES and 1."""
    query, key, value = np.random.default_rng(1).normal(size=(3, steps, size))
    given = {"query": query, "key": key, "value": value}
    given |= {n: a / np.linalg.norm(a, axis=1, keepdims=True) for n, a in (*given.items(),)[:2]}
    drawn = np.random.default_rng(2).uniform(size=(len(TAKES[name]), steps))
    for (gate, least), number in zip(TAKES[name].items(), drawn, strict=True):
        given[gate] = least + (1 - least) * number
    return {n: jnp.asarray(a, jnp.float32) for n, a in given.items()}


def answers_and_slopes(name):
    """Answers and state, and the gradients of a scalar of the answers."""

    def loss(given):
        found = associate(RULES[name](), token_of(given))
        return (jnp.cos(jnp.arange(found[0].size)) * found[0].ravel()).sum(), found

    return jax.grad(loss, has_aux=True)


@pytest.mark.parametrize("name", sampled(TAKES, lambda name: name == "titans"))
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_every_product_asks_for_bfloat16_on_accelerators(name, platform):
    """The triangle as well: it is products there, and no solve."""
    with in_bfloat16():
        traced = jax.jit(answers_and_slopes(name)).trace(draw(name, 64, 4))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    products = [line for line in text.splitlines() if "= stablehlo.dot_general" in line]
    asked = "lhs_precision_type = bf16, rhs_precision_type = bf16, accumulation_type = f32"
    assert len(products) > 40
    assert all(asked in line for line in products)
    assert "xbf16" not in text  # no array is stored so
    assert "triangular_solve" not in text


def error(ours, exact):
    """Largest difference over the largest number, the worst of all arrays."""
    of_each = jax.tree.map(lambda a, b: jnp.abs(a - b).max() / jnp.abs(b).max(), ours, exact)
    return float(jnp.stack(jax.tree.leaves(of_each)).max())


@pytest.mark.parametrize(
    ("name", "steps", "size"),
    sampled(
        [(name, *size) for name in TAKES for size in ((64, 8), (2048, 64))],
        lambda case: case == ("delta", 64, 8),
    ),
)
def test_their_error_on_random_tokens(name, steps, size):
    """Emulated, because a CPU multiplies in float32; -s shows the errors."""
    given, run = draw(name, steps, size), answers_and_slopes(name)
    slopes, (answers, after) = jax.jit(run)(given)
    with in_bfloat16():
        rough_slopes, (rough, rough_after) = jax.jit(as_rounded(run))(given)
    errors = (
        error(rough, answers),
        error(rough_after.weight, after.weight),
        error(rough_slopes, slopes),
    )
    shown = "answers {:.1e}, state {:.1e}, gradients {:.1e}".format(*errors)
    print(f"\n{name}, T = {steps}, d = {size}: {shown}")
    assert errors[0] > 1e-4
    assert max(errors) < 2e-2


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["delta", "gated_delta", "titans_linear_online"])
def test_their_error_on_recorded_tokens(variant):
    from plasticity.experiments.check_numerics import FORMATS, error
    from plasticity.experiments.traces.recorded import load

    trace = load(str(GOLDEN / f"assoc_{variant}.npz"), FORMATS)
    run = jax.value_and_grad(
        functools.partial(trace.replay, trace.model("parallel", 4)), has_aux=True
    )
    with in_bfloat16():
        (_, found), slopes = jax.jit(as_rounded(run))(trace.parameters(jnp.float32))
    found |= {f"grad/{name}": slope for name, slope in slopes.items()}
    errors = {name: error(found[name], array) for name, array in trace.recorded().items()}
    del errors["loss"]  # a sum whose terms nearly cancel
    values = max(e for name, e in errors.items() if not name.startswith("grad/"))
    slopes = max(e for name, e in errors.items() if name.startswith("grad/"))
    print(f"\n{variant}, recorded: values {values:.1e}, gradients {slopes:.1e}")
    assert 1e-4 < max(errors.values()) < 2e-2
