"""Feed-forward levels: a chain of nets that learn in context, each once per period of steps.

  x <- x + f_l(norm(x)),   f_l(z) = W2 silu(W1 z),   level by level

The weights of level l follow the rule `level`, with period C_l. It learns to say V z, at rates up
to `model.level_rate` / (C_l D). At rates of 0 the chain is ordinary feed-forward nets.

Source: Behrouz et al. 2025 (arXiv 2512.24695), equations 70 and 96, which leave out norms and, it
says, convolutions. Departures: see `plasticity.rules.level`; the residual connections are ours.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import FastRead
from plasticity.memory.dense import TraceMatrix
from plasticity.rules.level import level
from plasticity.types import Array, LayerShape, Rule, SiteShape, Token

NAME = "levels"  # of the list of levels in a block


class LevelSpec(NamedTuple):
    """One level of a network of width D."""

    period: int  # C
    width: int
    hidden: int
    rate: float  # the largest, before it is divided by C D

    @property
    def rule(self) -> Rule:
        """The rule of its memory site."""
        return level(frozen=self.period, hidden=self.hidden)

    @property
    def layers(self) -> dict[str, LayerShape]:
        """The layers of its net, {layer: shape}."""
        assert self.rule.site is not None
        return self.rule.site.layers(LayerShape(self.width, self.width))

    @property
    def site_shape(self) -> SiteShape:
        """The shape of its memory site, which has one head."""
        return SiteShape(1, self.layers)


def periods(value: str) -> tuple[int, ...]:
    """The periods in `model.levels`, integers joined by commas; empty: none.

    Raises:
      ValueError: one is not a positive integer.
    """
    parts = [part.strip() for part in value.split(",")] if value else []
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(
            f"model.levels={value!r} must be periods, positive numbers of steps joined by commas, "
            "as in 1,4,16, or empty"
        )
    return tuple(map(int, parts))


def sites_of_levels(sites: list[str], levels: tuple[LevelSpec, ...]) -> dict[str, LevelSpec]:
    """{memory site: its level}, of the sites that are levels."""
    return {
        name: spec
        for name in sites
        for i, spec in enumerate(levels)
        if name.rpartition("/")[2] == f"{NAME}_{i}"
    }


class Level(nn.Module):
    """See the module. It is a memory site, named by the module's path.

    Attributes:
      spec: of the level.
    """

    spec: LevelSpec

    def setup(self) -> None:
        """Creates the parts; the first weights are slow weights."""
        self.value = nn.Dense(self.spec.width, use_bias=False)
        self.rate = nn.Dense(1)
        self.first = {
            name: self.param(f"first_{name}", _first, shape)
            for name, shape in self.spec.layers.items()
        }

    def initial(self) -> dict[str, TraceMatrix]:
        """The net before anything is written: {layer: [1, ...]}."""
        return {n: TraceMatrix(w[None], jnp.zeros((1, len(w)))) for n, w in self.first.items()}

    def __call__(self, z: Array, fast: FastRead) -> tuple[Array, dict[str, Any]]:
        """Maps z [S, D] to [S, D], and its tokens by the name of the site."""
        spec = self.spec
        rate = spec.rate / (spec.period * spec.width) * jax.nn.sigmoid(self.rate(z))
        tokens = Token(z[:, None], z[:, None], self.value(z)[:, None], rate)
        name = "/".join(self.path)
        return fast.associate(name, tokens)[:, 0], {name: tokens}


def _first(key: Array, shape: LayerShape) -> Array:
    return jax.random.normal(key, shape) * shape.inputs**-0.5
