"""Self-modifying memory: keys, values, rates and decays are read from memories that they write.

  key = unit(K x),   value = unit(V x),   rate = limit sigmoid(r x),   keep = sigmoid(a x)^(1/16)
  M <- M (keep I - rate key key^T) - rate (M key - M value) key^T   for M in K, V, r, a, memory
  answer  memory query

x is the token's key. Each memory makes its own target, M value. All reads are of the state before
the token or, `frozen`, before a stretch of tokens; only the decay, keep I - rate key key^T, acts on
the running state. Given what was read, a stretch is a delta rule, and is solved at once. The first
memories are slow weights. Reads and decays act on all memories in the same way, from the right. So
each memory stays M_first P, with one P for all.

Source: Behrouz et al. 2025 (arXiv 2512.24695), equations 83 to 93, from a transcription of section
8 and three independent implementations; the paper itself was not at hand. Departures: linear
memories, where the source trains MLPs; one stretch for all, where it has a second one for `memory`;
values are of unit length (`unit_values`), without which many first memories explode; the maps of
rate and keep, one number each, are ours.
"""

import dataclasses

import jax

from plasticity.factory import Factory
from plasticity.features import slow_sigmoid, unit
from plasticity.rules.site_rules import SiteSettings, site_rule
from plasticity.settings import setting, size
from plasticity.types import Array, LayerShape, Read, Rule, Site, Token, Write

LAYERS = ("key", "value", "rate", "keep", "memory")


@dataclasses.dataclass(frozen=True)
class SelfModifyingSettings(SiteSettings):
    """Settings of the rule."""

    frozen: int = size(1, "tokens whose numbers are read before the first of them; 1: online")
    limit: float = setting(1.0, "rates are in (0, limit)", above=0, high=2)
    unit_values: bool = setting(True, "values of unit length, as keys are")


def make(settings: SelfModifyingSettings) -> Rule:
    """The rule."""

    def tokens(token: Token, read: Read) -> dict[str, Token]:
        key, value, rate, keep = (read(token.key, layer) for layer in LAYERS[:-1])
        key, value = unit(key), unit(value) if settings.unit_values else value
        numbers = (settings.limit * jax.nn.sigmoid(rate[0]), slow_sigmoid(keep[0]))

        def error(layer: str) -> Array:
            return read(value, layer) - read(key, layer)

        return {layer: Token(key, key, error(layer), *numbers) for layer in LAYERS}

    site = Site(
        _write,
        order="read_before_stretch",
        frozen=settings.frozen,
        tokens=tokens,
        layers=_layers,
        empty=False,
        takes=(),
        ignores=("value",),
        answer=lambda token, read: read(token.query, "memory"),
    )
    return site_rule(site)


def _layers(shape: LayerShape) -> dict[str, LayerShape]:
    outputs, inputs = shape
    rows = zip(LAYERS, (inputs, inputs, 1, 1, outputs), strict=True)
    return {layer: LayerShape(count, inputs) for layer, count in rows}


def _write(token: Token, read: Read) -> Write:
    return Write(token.value - read(token.key), token.key, token.rate, token.keep)


self_modifying = Factory(SelfModifyingSettings, make)
