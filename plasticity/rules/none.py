"""No plasticity: the static baseline, an ordinary network."""

from collections.abc import Mapping

import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.settings import check_one_episode
from plasticity.settings import Settings
from plasticity.synapse import PLAIN
from plasticity.types import (
    Activity,
    Array,
    Key,
    LayerShape,
    Plasticity,
    Read,
    Rule,
    Site,
    Token,
    Write,
)


def make(settings: Settings) -> Rule:
    """w_t = 0. The rule has neither settings nor parameters."""
    del settings

    def init(key: Key, shapes: Mapping[str, LayerShape], head: int) -> Plasticity:
        del key, head
        return Plasticity(dict.fromkeys(shapes, PLAIN), projection=None)

    def write(
        theta: Plasticity, modulator: Array, activities: Mapping[str, Activity]
    ) -> dict[str, Write]:
        del theta
        check_one_episode(modulator, activities)
        nothing, everything = jnp.zeros_like(modulator), jnp.ones_like(modulator)
        return {
            name: Write(jnp.zeros_like(a.post), jnp.zeros_like(a.pre), nothing, everything)
            for name, a in activities.items()
        }

    return Rule(init, write, static=True, site=Site(_nothing))


def _nothing(token: Token, read: Read) -> Write:
    del read
    nothing, everything = jnp.zeros_like(token.rate), jnp.ones_like(token.rate)
    return Write(jnp.zeros_like(token.value), jnp.zeros_like(token.key), nothing, everything)


none = Factory(Settings, make)
