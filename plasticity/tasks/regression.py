"""Few-shot regression: infer a function from k pairs, then apply it.

An episode draws a function f, shows x and f(x) + noise for `k_support` points and asks for f(x) of
`k_query` others, all x normal; the values may first be brought to mean 0 and deviation 1:

  input   [x (input_dim) | y, 0 when asked | 1 when asked]        target   y

  family "linear"    f(x) = w . x + b, entries of w and b normal (the paper)
         "mlp"       f(x) = v . tanh(W x + u), `hidden` units, entries of W, u and v normal, those
                     of v with variance (d + 1) / hidden
         "sinusoid"  f(x) = a sin(x + p), a in U(0.1, 5), p in U(0, pi), x in U(-5, 5), d = 1
                     (Finn et al. 2017)

For "linear" in d dimensions with unit scales and no noise the query MSE is d + 1 for those who know
nothing, d + 1 - k after k <= d + 1 pairs by least squares, and 0 from then on. For "mlp" those who
know nothing are at (d + 1) E[tanh(W x + u)^2], which is less: 2.4 for d = 3.

Source: Chaudhary 2025, section on few-shot regression (linear); Duan et al. 2023
(arXiv 2302.03235): linear and tanh, values standardised, then noise on those shown.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from plasticity.registry import check_choice, lookup
from plasticity.tasks import orders
from plasticity.tasks.squares import query_metrics, squares
from plasticity.types import Array, Episode, Key, Task

LOSS_STEPS = ("all", "query")
AMPLITUDE, PHASE, REACH = (0.1, 5.0), (0.0, jnp.pi), 5.0  # of sinusoids

# family(key, input_dim, hidden, weight_scale, bias_scale, x [K, D]) -> f(x) [K]
Family = Callable[[Key, int, int, float, float, Array], Array]


def _linear(
    key: Key, dim: int, hidden: int, weight_scale: float, bias_scale: float, x: Array
) -> Array:
    del hidden
    weights, bias = jnp.split(jax.random.normal(key, (dim + 1,)), [dim])
    return weight_scale * x @ weights + bias_scale * bias


def _mlp(
    key: Key, dim: int, hidden: int, weight_scale: float, bias_scale: float, x: Array
) -> Array:
    first_key, bias_key, last_key = jax.random.split(key, 3)
    first = weight_scale * jax.random.normal(first_key, (dim, hidden))
    bias = bias_scale * jax.random.normal(bias_key, (hidden,))
    last = jax.random.normal(last_key, (hidden,)) * ((dim + 1) / hidden) ** 0.5
    return jnp.tanh(x @ first + bias) @ last


def _sinusoid(
    key: Key, dim: int, hidden: int, weight_scale: float, bias_scale: float, x: Array
) -> Array:
    del dim, hidden, weight_scale, bias_scale
    amplitude_key, phase_key = jax.random.split(key)
    amplitude = jax.random.uniform(amplitude_key, (), minval=AMPLITUDE[0], maxval=AMPLITUDE[1])
    phase = jax.random.uniform(phase_key, (), minval=PHASE[0], maxval=PHASE[1])
    return amplitude * jnp.sin(x[:, 0] + phase)


FAMILIES: dict[str, Family] = {"linear": _linear, "mlp": _mlp, "sinusoid": _sinusoid}


def regression(
    *,
    family: str = "linear",
    input_dim: int = 3,
    k_support: int = 10,
    k_query: int = 10,
    weight_scale: float = 1.0,
    bias_scale: float = 1.0,
    noise: float = 0.0,
    hidden: int = 8,
    standardise: bool = False,
    order: str = "stream",
    loss_steps: str = "query",
) -> Task:
    """The task.

    Args:
      family: of functions, see above.
      input_dim: D; k_support, k_query: pairs that are shown, points that are asked.
      weight_scale, bias_scale: deviations of w (W) and b (u).
      noise: deviation of what is added to the values that are shown.
      hidden: units of "mlp".
      standardise: values of an episode's points have mean 0 and deviation 1, before noise is added.
      order: queries follow in one "stream" (the paper), or are "independent".
      loss_steps: the outer loss counts "all" steps (the paper; the value of a shown point is in
        its input) or those of the "query" only.
    """
    draw = lookup(FAMILIES, family, "task.family")
    check_choice(order, orders.ORDERS, "task.order")
    check_choice(loss_steps, LOSS_STEPS, "task.loss_steps")
    sizes = {"input_dim": input_dim, "k_support": k_support, "k_query": k_query, "hidden": hidden}
    _check(family, noise, sizes)
    asked = (jnp.arange(points := k_support + k_query) >= k_support).astype(jnp.float32)
    chance = input_dim * weight_scale**2 + bias_scale**2 if family == "linear" else None
    if standardise:
        chance = (points - 1) / points

    def sample(key: Key, data: None = None) -> Episode:
        del data
        function_key, x_key, noise_key = jax.random.split(key, 3)
        x = jax.random.normal(x_key, (points, input_dim))
        if family == "sinusoid":
            x = jax.random.uniform(x_key, (points, 1), minval=-REACH, maxval=REACH)
        y = draw(function_key, input_dim, hidden, weight_scale, bias_scale, x)
        y = (y - y.mean()) / y.std(ddof=1) if standardise else y
        heard = (1 - asked) * (y + noise * jax.random.normal(noise_key, (points,)))
        inputs = jnp.concatenate([x, heard[:, None], asked[:, None]], axis=-1)
        weights = asked if loss_steps == "query" else jnp.ones_like(asked)
        return orders.lay_out(order, k_support, inputs, y[:, None], weights)

    return Task(
        inputs=input_dim + 2,
        outputs=1,
        steps=orders.steps(order, k_support, k_query),
        main_metric="query_mse",
        chance=chance,
        sample=sample,
        loss=squares,
        metrics=partial(query_metrics, k_support),
        phases=orders.phases(order, k_support, k_query),
    )


def _check(family: str, noise: float, sizes: Mapping[str, int]) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"task.{name}={value} must be at least 1")
    if noise < 0:
        raise ValueError(f"task.noise={noise} must be at least 0")
    if family == "sinusoid" and sizes["input_dim"] != 1:
        raise ValueError(
            f"task.input_dim={sizes['input_dim']} must be 1 for task.family='sinusoid'"
        )
