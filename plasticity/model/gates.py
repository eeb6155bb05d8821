"""How a memory layer makes the rates, keeps and gates of its tokens, from the stream it reads."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.features import slow_sigmoid, unit
from plasticity.model.memory_settings import MemoryLayerSettings
from plasticity.registry import lookup
from plasticity.types import Array, Gate, Key

DECAYS, STEPS = (1.0, 16.0), (1e-3, 0.1)  # first a and softplus: Dao & Gu 2024 (arXiv 2405.21060)
RIDGE = 0.25  # least ridge: von Oswald et al. 2025 (arXiv 2506.05233)


class Stream(NamedTuple):
    """What a gate is made of, S steps of H heads."""

    x: Array  # [S, D]
    key: Array  # [S, H, I]
    number: Array  # [S] int32, of the step in its stretch of a frozen rule
    stretch: int  # steps of such a stretch


class GateMaker(nn.Module):
    """One gate: [S, H], or [S, H, n] if there is one per input or output.

    Attributes:
      gate: how it is made.
      heads: H.
      each: n; 0: one number.
      settings: of the layer.
    """

    gate: Gate
    heads: int
    each: int
    settings: MemoryLayerSettings

    @nn.compact
    def __call__(self, stream: Stream) -> Array:
        """See the class."""
        return lookup(KINDS, self.gate.kind, f"kind of the gate {self.gate.name!r}")(self, stream)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the gate at one step."""
        return (self.heads, self.each) if self.each else (self.heads,)

    def project(self, x: Array, bias: nn.initializers.Initializer = nn.initializers.zeros) -> Array:
        """A linear map of the stream, in float32 at least: a keep of .999 is 1 in bfloat16."""
        mapped = nn.DenseGeneral(self.shape, bias_init=bias)(x)
        return mapped.astype(jnp.promote_types(mapped.dtype, jnp.float32))

    def spread(self, value: Array, stream: Stream) -> Array:
        """The same for all steps."""
        return jnp.broadcast_to(value, (len(stream.x), *value.shape))


def _rate(maker: GateMaker, stream: Stream) -> Array:
    if maker.settings.rate == "one":
        return jnp.ones((len(stream.x), *maker.shape), stream.x.dtype)
    return maker.settings.rate_limit * jax.nn.sigmoid(maker.project(stream.x))


def _keep(maker: GateMaker, stream: Stream) -> Array:
    if maker.settings.keep == "one":
        return jnp.ones((len(stream.x), *maker.shape), stream.x.dtype)
    if maker.settings.keep == "sigmoid":
        return slow_sigmoid(maker.project(stream.x))
    log_decay = maker.param("log_decay", _log_uniform_decay, maker.shape)
    return jnp.exp(-jnp.exp(log_decay) * jax.nn.softplus(maker.project(stream.x, _first_steps)))


def _log_uniform_decay(key: Key, shape: tuple[int, ...]) -> Array:
    return jnp.log(jax.random.uniform(key, shape, minval=DECAYS[0], maxval=DECAYS[1]))


def _first_steps(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """The bias b for which softplus(b) is log-uniform."""
    low, high = jnp.log(STEPS[0]), jnp.log(STEPS[1])
    wanted = jnp.exp(jax.random.uniform(key, shape, dtype, minval=low, maxval=high))
    return wanted + jnp.log(-jnp.expm1(-wanted))


def _unit(maker: GateMaker, stream: Stream) -> Array:
    return jax.nn.sigmoid(maker.project(stream.x))


def _momentum(maker: GateMaker, stream: Stream) -> Array:
    if maker.settings.momentum == "zero":
        return jnp.zeros((len(stream.x), *maker.shape), stream.x.dtype)
    return _unit(maker, stream)


def _positive(maker: GateMaker, stream: Stream) -> Array:
    return jax.nn.softplus(maker.project(stream.x))


def _one(maker: GateMaker, stream: Stream) -> Array:
    return maker.spread(maker.param("value", nn.initializers.ones, maker.shape), stream)


def _zero(maker: GateMaker, stream: Stream) -> Array:
    return maker.spread(maker.param("value", nn.initializers.zeros, maker.shape), stream)


def _ridge(maker: GateMaker, stream: Stream) -> Array:
    value = maker.param("value", nn.initializers.zeros, maker.shape)
    return maker.spread(RIDGE + jax.nn.softplus(value), stream)


def _scaled_key(maker: GateMaker, stream: Stream) -> Array:
    """Comba's error key: the key, times a learned number in (0, 1) per head."""
    scale = maker.param("value", nn.initializers.ones, (maker.heads, 1))
    return jax.nn.sigmoid(scale) * stream.key


def _key_direction(maker: GateMaker, stream: Stream) -> Array:
    """RWKV-7's removal key: the key with learned weights per channel, at unit length."""
    scale = maker.param("value", nn.initializers.ones, maker.shape)
    return unit(scale * stream.key)


def _average(maker: GateMaker, stream: Stream) -> Array:
    """TTT's rate of the reading token: 1 / its number in the stretch, and a learned offset."""
    offset = maker.param("value", nn.initializers.zeros, (stream.stretch,))
    rate = (1 / (1 + jnp.arange(stream.stretch)) + offset)[stream.number]
    return jnp.broadcast_to(rate[:, None], (len(rate), maker.heads))


# {Gate.kind: (maker, stream) -> gate}
KINDS: dict[str, Callable[[GateMaker, Stream], Array]] = {
    "rate": _rate,
    "keep": _keep,
    "unit": _unit,
    "momentum": _momentum,
    "positive": _positive,
    "one": _one,
    "zero": _zero,
    "ridge": _ridge,
    "scaled_key": _scaled_key,
    "key_direction": _key_direction,
    "average": _average,
}
