"""Few-shot regression: infer a function from k pairs, then apply it.

An episode draws a function f, shows x and f(x) + noise at `k_support` points, and its targets are
f(x) at `k_query` other points; all x are normal. Optionally the values of an episode are first
standardised to mean 0 and variance 1:

  input [K, input_dim + 2]   [x (input_dim) | y, 0 in a query | 1 in a query]
  target [K, 1]              f(x)

  family "linear"    f(x) = w . x + b, entries of w and b normal (the paper)
         "mlp"       f(x) = v . tanh(W x + u), `hidden` units, entries of W, u and v normal, those
                     of v with variance (d + 1) / hidden
         "sinusoid"  f(x) = a sin(x + p), a in U(0.1, 5), p in U(0, pi), x in U(-5, 5), d = 1
                     (Finn et al. 2017)

For "linear" in d dimensions with unit scales and no noise, predicting the mean, 0, scores a query
MSE of d + 1; least squares scores d + 1 - k after k <= d + 1 pairs, and 0 from then on, which is
the optimum. For "mlp" predicting the mean scores (d + 1) E[tanh(W x + u)^2], 2.4 for d = 3.

Source: Chaudhary 2025, section on few-shot regression (linear); Duan et al. 2023
(arXiv 2302.03235): linear and tanh, values standardised, then noise on those of the support.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.settings import Settings, setting, size
from plasticity.task import Episode, Task
from plasticity.tasks import orders
from plasticity.tasks.squares import query_metrics, squares
from plasticity.types import Array, Key

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


@dataclasses.dataclass(frozen=True)
class RegressionSettings(Settings):
    """Settings of the task."""

    section = "task"
    family: str = setting("linear", "family of functions", choices=FAMILIES)
    input_dim: int = size(3, "dimensions of x")
    k_support: int = size(10, "pairs in the support")
    k_query: int = size(10, "query points")
    weight_scale: float = setting(1.0, "standard deviation of w (W)")
    bias_scale: float = setting(1.0, "standard deviation of b (u)")
    noise: float = setting(0.0, "standard deviation of the noise on values of the support", low=0)
    hidden: int = size(8, "family mlp: hidden units")
    standardise: bool = setting(False, "values of an episode have mean 0 and variance 1")
    order: str = setting(
        "stream", "queries in one stream, as published, or independent", choices=orders.ORDERS
    )
    loss_steps: str = setting(
        "query", "steps that the outer loss counts; all: as published", choices=("all", "query")
    )

    def check(self) -> None:
        """Raises ValueError for sinusoids of several dimensions."""
        if self.family == "sinusoid" and self.input_dim != 1:
            raise ValueError(
                f"task.input_dim={self.input_dim} must be 1 for task.family='sinusoid'"
            )


def _regression(s: RegressionSettings) -> Task:
    points = s.k_support + s.k_query
    is_query = (jnp.arange(points) >= s.k_support).astype(jnp.float32)
    chance = s.input_dim * s.weight_scale**2 + s.bias_scale**2 if s.family == "linear" else None
    if s.standardise:
        chance = (points - 1) / points

    def sample(key: Key, data: None = None) -> Episode:
        del data
        function_key, x_key, noise_key = jax.random.split(key, 3)
        x = jax.random.normal(x_key, (points, s.input_dim))
        if s.family == "sinusoid":
            x = jax.random.uniform(x_key, (points, 1), minval=-REACH, maxval=REACH)
        draw = FAMILIES[s.family]
        y = draw(function_key, s.input_dim, s.hidden, s.weight_scale, s.bias_scale, x)
        y = (y - y.mean()) / y.std(ddof=1) if s.standardise else y
        shown = (1 - is_query) * (y + s.noise * jax.random.normal(noise_key, (points,)))
        inputs = jnp.concatenate([x, shown[:, None], is_query[:, None]], axis=-1)
        weights = is_query if s.loss_steps == "query" else jnp.ones_like(is_query)
        return orders.lay_out(s.order, s.k_support, inputs, y[:, None], weights)

    return Task(
        inputs=s.input_dim + 2,
        outputs=1,
        steps=orders.steps(s.order, s.k_support, s.k_query),
        main_metric="query_mse",
        chance=chance,
        sample=sample,
        loss=squares,
        metrics=partial(query_metrics, s.k_support),
        phases=orders.phases(s.order, s.k_support, s.k_query),
    )


regression = Factory(RegressionSettings, _regression)
