"""Decoder-only Transformer, pre-LayerNorm, with plastic feed-forward layers.

The network of Chaudhary 2025 (arXiv 2510.21908); positions and the attention window are ours (the
paper has neither). It processes S steps at once: S = 1 within an episode whose fast weights
change at every step, S = T when nothing changes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.model import attention
from plasticity.model.attention import Attention, KeyValue
from plasticity.model.conv4 import Conv4, EncoderSettings
from plasticity.model.head import Head
from plasticity.model.linear import linear
from plasticity.model.plastic_dense import PlasticDense
from plasticity.registry import check_choice
from plasticity.steps import join, length, no_fast_weights
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
    Sight,
    TaskShape,
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

    def setup(self) -> None:
        """Names of the parts are names of parameters and of plastic layers."""
        s = self.settings
        self.attention_norm = nn.LayerNorm(NORM_EPSILON)
        self.attention = Attention(s.heads, s.attention_window, s.position == "rotary", s.dropout)
        self.feed_forward_norm = nn.LayerNorm(NORM_EPSILON)
        self.fc1 = PlasticDense(s.feed_forward)
        self.fc2 = PlasticDense(s.width)
        self.drop = nn.Dropout(s.dropout)

    def attend(
        self,
        x: Array,
        past: Sequence[KeyValue],
        position: Array,
        apart: bool,
        deterministic: bool,
    ) -> tuple[Array, KeyValue]:
        """The first half: x [S, D] -> x [S, D], and what it adds to the past."""
        x_norm = self.attention_norm(x)
        mixed, entry = self.attention(x_norm, past, position, apart, deterministic)
        return x + self.drop(mixed, deterministic=deterministic), entry

    def feed_forward(
        self, x: Array, fast: FastRead, deterministic: bool
    ) -> tuple[Array, dict[str, Activity]]:
        """The second half: x [S, D] -> x [S, D], with the activities of its layers."""
        hidden, activity1 = self.fc1(self.feed_forward_norm(x), fast)
        hidden = nn.gelu(hidden, approximate=False)
        activity1 = activity1._replace(activation=hidden)
        out, activity2 = self.fc2(self.drop(hidden, deterministic=deterministic), fast)
        x = x + self.drop(out, deterministic=deterministic)
        return x, {self.fc1.layer_name: activity1, self.fc2.layer_name: activity2}


class Transformer(nn.Module):
    """Embedding, blocks, final norm, head, in two parts.

    The first block's attention hears inputs only, so it is done for all steps at once and leaves
    nothing in the past.
    """

    settings: TransformerSettings
    encoder_settings: EncoderSettings
    inputs: int
    outputs: int
    steps: int
    image: tuple[int, int, int] | None

    def setup(self) -> None:
        """Blocks are called block_0, block_1, ..."""
        s = self.settings
        if self.image is not None:
            self.encoder = Conv4(self.encoder_settings)
        features = 0 if self.image is None else self.encoder_settings.features(self.image)
        self.embed = linear(features + self.inputs, s.width)
        if s.position == "learned":
            shape = (self.steps + 1, s.width)  # queries come after the last step
            self.position = self.param("position", nn.initializers.normal(0.02), shape)
        self.blocks = [Block(s, name=f"block_{i}") for i in range(s.layers)]
        self.final_norm = nn.LayerNorm(NORM_EPSILON)
        self.head = Head(self.outputs, s.auxiliary)

    def prepare(
        self, inputs: Array | Sight, queries: Array | Sight | None, deterministic: bool
    ) -> tuple[Array, Array | None]:
        """What no fast weight reaches: inputs [S, I], queries [Q, I] -> [S, D], [Q, D]."""
        together, steps = join(inputs, queries), length(inputs)
        if isinstance(together, Sight):
            seen = self.encoder(together.image)
            together = jnp.concatenate([seen, together.vector], axis=-1)
        x = self.embed(together)
        position = jnp.minimum(jnp.arange(len(x), dtype=jnp.int32), steps)
        if self.settings.position == "learned":
            x = x + self.position[position]
        attend = self.blocks[0].attend
        shown, entry = attend(x[:steps], (), position[:steps], False, deterministic)
        if queries is None:
            return shown, None
        asked, _ = attend(x[steps:], (entry,), position[steps:], True, deterministic)
        return shown, asked

    def __call__(
        self,
        x: Array,
        past: Sequence[Sequence[KeyValue]],
        position: Array,
        fast: FastRead,
        apart: bool,
        deterministic: bool,
    ) -> tuple[Outputs, dict[str, Activity], list[KeyValue]]:
        """Prepared x [S, D] -> outputs [S, .], activities, one entry per block but the first."""
        x, activities = self.blocks[0].feed_forward(x, fast, deterministic)
        entries = []
        for i, block in enumerate(self.blocks[1:]):
            earlier = [part[i] for part in past]
            x, entry = block.attend(x, earlier, position, apart, deterministic)
            x, active = block.feed_forward(x, fast, deterministic)
            activities |= active
            entries.append(entry)
        return self.head(self.final_norm(x)), activities, entries


def transformer(
    settings: TransformerSettings, encoder: EncoderSettings, task: TaskShape
) -> Backbone:
    """The backbone for a task; `encoder` serves inputs that are images."""
    inputs, outputs = task.inputs, task.outputs
    module = Transformer(settings, encoder, inputs, outputs, task.steps, task.image)
    head_width = settings.width // settings.heads

    def blank(slots: int, dtype: DType) -> list[KeyValue]:
        segment = attention.blank(slots, settings.heads, head_width, dtype)
        return [segment] * (settings.layers - 1)

    def rngs(key: Key | None) -> dict[str, Key] | None:
        return None if key is None else {"dropout": key}

    def prepare(
        slow: PyTree, inputs: PyTree, queries: PyTree | None, key: Key | None
    ) -> tuple[Array, Array | None]:
        prepared: Any = module.apply(
            slow, inputs, queries, key is None, rngs=rngs(key), method="prepare"
        )
        return prepared

    def forward(
        slow: PyTree,
        past: Sequence[PyTree],
        x: Array,
        position: Array,
        fast: FastRead,
        key: Key | None,
        apart: bool = False,
    ) -> Forward:
        arguments = (x, past, position, fast, apart, key is None)
        return Forward(*module.apply(slow, *arguments, rngs=rngs(key)))

    def first_step(module: Transformer) -> dict[str, Activity]:
        """Runs one step without fast weights."""
        vector = jnp.zeros((1, inputs))
        seen = vector if task.image is None else Sight(jnp.zeros((1, *task.image)), vector)
        x, _ = module.prepare(seen, None, True)
        return module(x, (), jnp.zeros((1,), jnp.int32), no_fast_weights, False, True)[1]

    # Under jit: Linen would otherwise run the network eagerly, operation by operation.
    init = jax.jit(lambda key: module.init(key, method=first_step))
    activities, _ = jax.eval_shape(
        lambda key: module.init_with_output(key, method=first_step), jax.random.key(0)
    )
    shapes = {name: LayerShape(a.post.shape[-1], a.pre.shape[-1]) for name, a in activities.items()}
    return Backbone(
        init,
        shapes,
        outputs + 1 + settings.auxiliary,
        prepare,
        forward,
        blank,
        settings.attention_window,
    )
