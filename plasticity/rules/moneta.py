"""Moneta: a memory that descends a p-norm of its error, with weights regularised by a q-norm.

  A <- keep A - rate G,   w = map(A),   G the gradient of |f(key; w) - value|_p^p at w
  printed  w = A / |A|_q^(q-2)
  mirror   w = (q-1) sign(A) |A|^(r-1) / |A|_r^(r-2),  r = q / (q-1)

norms are of whole matrices. `mirror` minimises -<A, w> + |w|_q^2 / (2 (q-1)), the stated aim, for
1 < q <= 2. `smooth` replaces the slope p sign(e) |e|^(p-1) by p tanh(sharpness e) (e^2 +
smoothing)^((p-1)/2), as the paper advises; it is the gradient of no loss.

Source: Behrouz et al. 2025, Miras (arXiv 2504.13173). Departures: none. There is no zero state.
"""

import dataclasses

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.networks import GradientMemorySettings, gradient_site
from plasticity.rules.site_rules import site_rule
from plasticity.settings import setting
from plasticity.types import Array, Form, Rule, Token


def _power(a: Array, exponent: float) -> Array:
    """|a|^exponent, whose derivative at 0 is 0."""
    size = jnp.abs(a)
    return jnp.where(size == 0, 0.0, jnp.where(size == 0, 1.0, size) ** exponent)


def _scaled(a: Array) -> tuple[Array, Array]:
    """a / m and m, the largest |a|, so that powers neither vanish nor overflow; 1 for zeros.

    The maps below do not depend on m, so that no gradient goes through it.
    """
    largest = jax.lax.stop_gradient(jnp.abs(a).max())
    largest = jnp.where(largest == 0, 1, largest)
    return a / largest, largest


def _norm(a: Array, exponent: float) -> Array:
    """|a|_exponent; 1 for zeros."""
    total = _power(a, exponent).sum()
    return jnp.where(total == 0, 1, total) ** (1 / exponent)


def _printed(a: Array, q: float) -> Array:
    b, largest = _scaled(a)
    return b / _norm(b, q) ** (q - 2) * largest ** (3 - q)


def _mirror(a: Array, q: float) -> Array:
    r = q / (q - 1)
    b, largest = _scaled(a)
    return (q - 1) * jnp.sign(b) * _power(b, r - 1) / _norm(b, r) ** (r - 2) * largest


MAPS = {"printed": _printed, "mirror": _mirror}


@dataclasses.dataclass(frozen=True)
class MonetaSettings(GradientMemorySettings):
    """Settings of the rule."""

    loss_exponent: float = setting(3.0, "p", above=1)
    norm_exponent: float = setting(4.0, "q", above=1)
    map: str = setting("printed", "from A to the weights", choices=MAPS)
    smooth: bool = setting(False, "the smooth slope")
    sharpness: float = setting(10.0, "of the smooth slope", above=0)
    smoothing: float = setting(1e-6, "of the smooth slope", low=0)


def make(settings: MonetaSettings) -> Rule:
    """The rule."""
    p, q = settings.loss_exponent, settings.norm_exponent

    def slope(token: Token, error: Array) -> Array:
        del token
        if not settings.smooth:
            return p * jnp.sign(error) * _power(error, p - 1)
        size = _power(error**2 + settings.smoothing, (p - 1) / 2)
        return p * jnp.tanh(settings.sharpness * error) * size

    form = Form(to_weights=lambda a: MAPS[settings.map](a, q))
    return site_rule(gradient_site(settings, slope, empty=False), form)


moneta = Factory(MonetaSettings, make)
