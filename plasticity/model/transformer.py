"""Decoder-only Transformer, pre-LayerNorm, with plastic feed-forward layers.

The network of Chaudhary 2025 (arXiv 2510.21908); positions and the attention window are ours (the
paper has neither). It processes S steps at once: S = 1 within an episode whose fast weights
change at every step, S = T when nothing changes.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.model import attention
from plasticity.model.attention import Attention, KeyValue
from plasticity.model.head import Head
from plasticity.model.linear import linear
from plasticity.model.plastic_dense import PlasticDense
from plasticity.registry import check_choice
from plasticity.types import (
    Activity,
    Array,
    Backbone,
    DType,
    FastRead,
    Forward,
    Key,
    LayerShape,
    Outputs,
    PyTree,
)

POSITIONS = ("none", "learned", "rotary")
NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class TransformerSettings:
    """Sizes and variants. Defaults: Chaudhary 2025, copying."""

    layers: int = 2
    heads: int = 4
    width: int = 128
    feed_forward: int = 256
    auxiliary: int = 4
    dropout: float = 0.1
    attention_window: int = 0  # 0: full; k: the last k steps and the present one
    position: str = "none"  # none | learned | rotary

    def __post_init__(self) -> None:
        check_choice(self.position, POSITIONS, "model.position")
        if self.width % self.heads:
            raise ValueError(
                f"model.heads={self.heads} must divide model.width={self.width} without remainder"
            )
        if self.position == "rotary" and (self.width // self.heads) % 2:
            raise ValueError(
                f"model.position='rotary' needs an even width per head, "
                f"not model.width/model.heads={self.width // self.heads}"
            )


class Block(nn.Module):
    """Attention, then a feed-forward net of two plastic layers, each around a residual."""

    settings: TransformerSettings

    @nn.compact
    def __call__(
        self, x: Array, past: KeyValue, position: Array, fast: FastRead, deterministic: bool
    ) -> tuple[Array, dict[str, Activity], KeyValue]:
        """Maps x [S, D] to x [S, D], with activities of its layers and an entry for its cache."""
        s = self.settings
        attend = Attention(
            s.heads, s.attention_window, s.position == "rotary", s.dropout, name="attention"
        )
        drop = nn.Dropout(s.dropout)
        normed = nn.LayerNorm(NORM_EPSILON, name="attention_norm")(x)
        mixed, entry = attend(normed, past, position, deterministic)
        x = x + drop(mixed, deterministic=deterministic)

        fc1 = PlasticDense(s.feed_forward, name="fc1")
        fc2 = PlasticDense(s.width, name="fc2")
        normed = nn.LayerNorm(NORM_EPSILON, name="feed_forward_norm")(x)
        hidden, activity1 = fc1(normed, fast)
        hidden = nn.gelu(hidden, approximate=False)
        activity1 = activity1._replace(activation=hidden)
        out, activity2 = fc2(drop(hidden, deterministic=deterministic), fast)
        x = x + drop(out, deterministic=deterministic)
        return x, {fc1.layer_name: activity1, fc2.layer_name: activity2}, entry


class Transformer(nn.Module):
    """Embedding, blocks, final norm, head."""

    settings: TransformerSettings
    outputs: int
    steps: int

    @nn.compact
    def __call__(
        self,
        x: Array,
        past: Sequence[KeyValue],
        position: Array,
        fast: FastRead,
        deterministic: bool,
    ) -> tuple[Outputs, dict[str, Activity], list[KeyValue]]:
        """x [S, I], position [S] -> outputs [S, .], activities, one cache entry per block."""
        s = self.settings
        x = linear(x.shape[-1], s.width, "embed")(x)
        if s.position == "learned":
            table = self.param("position", nn.initializers.normal(0.02), (self.steps, s.width))
            x = x + table[position]
        activities: dict[str, Activity] = {}
        entries = []
        for i in range(s.layers):
            block = Block(s, name=f"block_{i}")
            x, active, entry = block(x, past[i], position, fast, deterministic)
            activities |= active
            entries.append(entry)
        x = nn.LayerNorm(NORM_EPSILON, name="final_norm")(x)
        return Head(self.outputs, s.auxiliary, name="head")(x), activities, entries


def transformer(
    settings: TransformerSettings, *, inputs: int, outputs: int, steps: int
) -> Backbone:
    """The backbone for a task with I `inputs`, O `outputs` and episodes of T `steps`."""
    module = Transformer(settings, outputs, steps)
    head_width = settings.width // settings.heads

    def start(length: int, dtype: DType) -> list[KeyValue]:
        slots = min(settings.attention_window or length, length)
        cache = attention.empty_cache(slots, settings.heads, head_width, dtype)
        return [cache] * settings.layers

    def forward(
        slow: PyTree, past: PyTree, x: Array, position: Array, fast: FastRead, key: Key | None
    ) -> Forward:
        rngs = None if key is None else {"dropout": key}
        return Forward(*module.apply(slow, x, past, position, fast, key is None, rngs=rngs))

    def extend(past: PyTree, entry: PyTree, position: Array) -> PyTree:
        del position  # the entries carry theirs
        return [attention.extend_cache(c, e) for c, e in zip(past, entry, strict=True)]

    def first_step(init: Callable[..., Any]) -> Any:
        """Calls `init` as for one step without fast weights."""
        x, position = jnp.zeros((1, inputs)), jnp.zeros((1,), jnp.int32)
        return init(x, start(0, x.dtype), position, lambda name, pre: jnp.zeros(()), True)

    # Under jit: Linen would otherwise run the network eagerly, operation by operation.
    init = jax.jit(lambda key: first_step(lambda *args: module.init(key, *args)))
    _, activities, _ = jax.eval_shape(
        lambda key: first_step(lambda *args: module.init_with_output(key, *args)[0]),
        jax.random.key(0),
    )
    shapes = {name: LayerShape(a.post.shape[-1], a.pre.shape[-1]) for name, a in activities.items()}
    return Backbone(init, shapes, outputs + 1 + settings.auxiliary, start, forward, extend)
