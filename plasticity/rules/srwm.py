"""The self-referential weight matrix: a memory that decides itself what it writes.

  answer W_y x;   q = softmax(W_q x), k = softmax(W_k x), b = sigmoid(W_b x)
  W_i <- W_i + b_i (W_i q - W_i k) k^T   for i in y, q, k, b

All reads are of the matrices before the write. x is the token's key. The first matrices are slow
weights.

Source: Irie et al. 2022 (arXiv 2202.05780). Departures: none; whether x is a softmax of the stream
is the layer's matter.
"""

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.types import LayerShape, Read, Rule, Site, Token, Write

LAYERS = ("y", "q", "k", "b")  # in the order of their rates


def make(settings: SiteSettings) -> Rule:
    """The rule."""
    del settings
    site = Site(
        _write,
        order="read_before_write",
        linear=False,
        layers=_layers,
        empty=False,
        takes=(),
        ignores=("query", "value"),
        answer=lambda token, read: read(token.key, "y"),
    )
    return site_rule(site)


def _layers(shape: LayerShape) -> dict[str, LayerShape]:
    outputs, inputs = shape
    rows = {"y": outputs, "q": inputs, "k": inputs, "b": len(LAYERS)}
    return {name: LayerShape(size, inputs) for name, size in rows.items()}


def _write(token: Token, read: Read) -> dict[str, Write]:
    x = token.key
    q, k = (jax.nn.softmax(read(x, name)) for name in ("q", "k"))
    rates = jax.nn.sigmoid(read(x, "b"))
    return {
        name: Write(read(q, name) - read(k, name), k, rate, jnp.ones_like(rate))
        for name, rate in zip(LAYERS, rates, strict=True)
    }


srwm = Factory(SiteSettings, make)
