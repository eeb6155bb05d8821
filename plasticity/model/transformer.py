"""Decoder-only Transformer, pre-LayerNorm, with plastic feed-forward layers.

Source: Chaudhary 2025 (arXiv 2510.21908). Additions: positional encodings and an attention window.
The network processes S steps at once: S = 1 if fast weights change at every step, S = T if they do
not change.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import Backbone, FastRead, Forward
from plasticity.model import attention
from plasticity.model.attention import Attention, KeyValue
from plasticity.model.conv4 import EncoderSettings, ImageEmbedding
from plasticity.model.head import Head, modulator_column
from plasticity.model.linear import linear, table
from plasticity.model.parts import check_tied, first_inputs, initialized, plastic_parts
from plasticity.model.plastic_dense import PlasticDense, activated
from plasticity.model.positions import learned
from plasticity.settings import Settings, setting, size
from plasticity.steps import join, length, no_fast_weights
from plasticity.task import Observation, TaskShape
from plasticity.types import Activity, Array, DType, Key, Outputs, PyTree

POSITIONS = ("none", "learned", "rotary")
PARTS = ("feed_forward", "attention", "head")
NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class TransformerSettings(Settings):
    """Sizes and variants. Defaults: Chaudhary 2025, copying."""

    section = "model"
    layers: int = size(2, "number of blocks", high=1000)
    heads: int = size(4, "attention heads; they divide the width")
    width: int = size(128, "width of the residual stream")
    feed_forward: int = size(256, "hidden units of a feed-forward net")
    auxiliary: int = size(4, "outputs that only the internal loss reads", low=0)
    dropout: float = setting(0.1, "dropout rate in training", low=0, below=1)
    attention_window: int = setting(0, "steps back that attention sees; 0: all; -1: none", low=-1)
    position: str = setting("none", "position embedding", choices=POSITIONS)
    plastic: str = setting("feed_forward", "parts with fast weights: feed_forward, attention, head")
    tied: bool = setting(False, "tokens as inputs: answers are products with their embeddings")

    def check(self) -> None:
        """Raises ValueError for parts that do not exist or sizes that do not divide."""
        plastic_parts(self.plastic, PARTS)
        if self.width % self.heads:
            raise ValueError(
                f"model.heads={self.heads} must divide model.width={self.width} without remainder"
            )
        if self.position == "rotary" and (self.width // self.heads) % 2:
            raise ValueError(
                "model.position='rotary' needs an even width per head, model.width / model.heads"
            )


class Block(nn.Module):
    """Attention, then a feed-forward net of two layers, each with a residual connection."""

    settings: TransformerSettings

    def setup(self) -> None:
        """Creates the parts. Their names are names of parameters and of plastic layers."""
        s = self.settings
        parts = plastic_parts(s.plastic, PARTS)
        self.attention_norm = nn.LayerNorm(NORM_EPSILON)
        rotary, plastic = s.position == "rotary", "attention" in parts
        self.attention = Attention(s.heads, s.attention_window, rotary, s.dropout, plastic)
        self.feed_forward_norm = nn.LayerNorm(NORM_EPSILON)
        self.fc1 = PlasticDense(s.feed_forward, "feed_forward" in parts)
        self.fc2 = PlasticDense(s.width, "feed_forward" in parts)
        self.drop = nn.Dropout(s.dropout)

    def attend(
        self,
        x: Array,
        past: Sequence[KeyValue],
        position: Array,
        fast: FastRead,
        independent: bool,
        deterministic: bool,
    ) -> tuple[Array, KeyValue, dict[str, Activity]]:
        """The first half: x [S, D] -> x [S, D], the entry of the past, activities."""
        arguments = (past, position, fast, independent, deterministic)
        mixed, entry, active = self.attention(self.attention_norm(x), *arguments)
        return x + self.drop(mixed, deterministic=deterministic), entry, active

    def feed_forward(
        self, x: Array, fast: FastRead, deterministic: bool
    ) -> tuple[Array, dict[str, Activity]]:
        """The second half: x [S, D] -> x [S, D], activities."""
        post, active = self.fc1(self.feed_forward_norm(x), fast)
        hidden = nn.gelu(post, approximate=False)
        out, active_out = self.fc2(self.drop(hidden, deterministic=deterministic), fast)
        x = x + self.drop(out, deterministic=deterministic)
        return x, activated(active, hidden) | active_out


class Transformer(nn.Module):
    """Embedding, blocks, final norm and head, in the two parts `prepare` and `__call__`.

    Unless attention is plastic, the attention of the first block depends on the inputs only, not on
    fast weights. `prepare` computes it for all steps of a piece at once: the entries of this block
    are those of `prepare`, not of the past.
    """

    settings: TransformerSettings
    encoder_settings: EncoderSettings
    task: TaskShape  # without reference images

    def setup(self) -> None:
        """Creates the parts; the blocks are named block_0, block_1, ..."""
        s, task = self.settings, self.task
        parts = plastic_parts(s.plastic, PARTS)
        if task.image is not None:
            self.see = ImageEmbedding(self.encoder_settings)
        features = 0 if task.image is None else self.encoder_settings.features(task.image)
        embedding = table if task.tokens else linear
        self.embed = embedding(features + task.inputs, s.width)
        if s.position == "learned":
            shape = (task.steps + 1, s.width)  # all queries are at position T
            self.position = self.param("position", nn.initializers.normal(0.02), shape, jnp.float32)
        self.blocks = [Block(s, name=f"block_{i}") for i in range(s.layers)]
        self.final_norm = nn.LayerNorm(NORM_EPSILON)
        self.head = Head(task.outputs, s.auxiliary, "head" in parts)

    def prepare(
        self,
        ahead: Sequence[KeyValue],
        inputs: Array | Observation,
        queries: Array | Observation | None,
        first: Array | int,
        reference_images: Array | None,
        deterministic: bool,
    ) -> tuple[Array, Array | None, list[KeyValue]]:
        """Maps inputs [S, ...], queries [Q, ...] to [S, D], [Q, D]; see `Backbone.prepare`."""
        joined, steps = join(inputs, queries), length(inputs)
        if isinstance(joined, Observation):
            joined = self.see(joined, reference_images)
        x = self.embed(joined)
        position = first + jnp.minimum(jnp.arange(len(x), dtype=jnp.int32), steps)
        if self.settings.position == "learned":
            further = steps if queries is not None else steps - 1
            x = x + learned(self.position, position, first, further)
        x_steps, x_queries = x[:steps], None if queries is None else x[steps:]
        if not attends_ahead(self.settings):
            return x_steps, x_queries, []
        attend = partial(self.blocks[0].attend, fast=no_fast_weights, deterministic=deterministic)
        x_steps, entry, _ = attend(x_steps, ahead, position[:steps], independent=False)
        if x_queries is not None:
            x_queries, *_ = attend(x_queries, (*ahead, entry), position[steps:], independent=True)
        return x_steps, x_queries, [] if self.settings.attention_window < 0 else [entry]

    def __call__(
        self,
        x: Array,
        past: Sequence[Sequence[KeyValue]],
        position: Array,
        fast: FastRead,
        independent: bool,
        deterministic: bool,
    ) -> tuple[Outputs, dict[str, Activity], list[KeyValue]]:
        """Maps prepared x [S, D] to outputs [S, ...], activities, entries of blocks with a past."""
        activities: dict[str, Activity] = {}
        entries: list[KeyValue] = []
        for i, block in enumerate(self.blocks):
            if i or not attends_ahead(self.settings):
                no_past = self.settings.attention_window < 0
                earlier = () if no_past else [segment[len(entries)] for segment in past]
                arguments = (earlier, position, fast, independent, deterministic)
                x, entry, active = block.attend(x, *arguments)
                activities |= active
                entries += [] if no_past else [entry]
            x, active = block.feed_forward(x, fast, deterministic)
            activities |= active
        table = self.embed.embedding if self.settings.tied else None
        outputs, active = self.head(self.final_norm(x), fast, table)
        return outputs, activities | active, entries


def attends_ahead(settings: TransformerSettings) -> bool:
    """Returns whether `prepare` computes the attention of the first block."""
    return "attention" not in plastic_parts(settings.plastic, PARTS)


def transformer(
    settings: TransformerSettings, encoder: EncoderSettings, task: TaskShape
) -> Backbone:
    """Builds the backbone for a task; `encoder` embeds images, a table embeds tokens."""
    check_tied(settings.tied, task)
    module = Transformer(settings, encoder, task._replace(reference_images=None))
    head_width, ahead = settings.width // settings.heads, int(attends_ahead(settings))

    def blank(slots: int, dtype: DType, blocks: int = settings.layers - ahead) -> list[KeyValue]:
        segment = attention.blank(slots, settings.heads, head_width, dtype)
        return [] if settings.attention_window < 0 else [segment] * blocks

    def rngs(key: Key | None) -> dict[str, Key] | None:
        return None if key is None else {"dropout": key}

    def prepare(slow: PyTree, *arguments: Any) -> Any:
        *steps, key = arguments
        rest = (task.reference_images, key is None)
        return module.apply(slow, *steps, *rest, rngs=rngs(key), method="prepare")

    def forward(
        slow: PyTree,
        past: Sequence[PyTree],
        x: Array,
        position: Array,
        fast: FastRead,
        key: Key | None,
        independent: bool = False,
    ) -> Forward:
        arguments = (x, past, position, fast, independent, key is None)
        return Forward(*module.apply(slow, *arguments, rngs=rngs(key)))

    def first_step(module: Transformer) -> dict[str, Activity]:
        """One step without fast weights."""
        x, *_ = module.prepare((), first_inputs(task), None, 0, task.reference_images, True)
        return module(x, (), jnp.zeros((1,), jnp.int32), no_fast_weights, False, True)[1]

    init, shapes = initialized(module, first_step)
    return Backbone(
        init,
        shapes,
        task.outputs + 1 + settings.auxiliary,
        prepare,
        forward,
        blank,
        settings.attention_window,
        _shard_by(settings.layers),
        partial(blank, blocks=ahead),
        partial(modulator_column, auxiliary=settings.auxiliary),
    )


def _shard_by(layers: int) -> dict[str, str]:
    """Feed-forward nets by hidden units: a device computes its share in fc1 and reads it in fc2."""
    by_units = {f"block_{i}/fc1": "outputs" for i in range(layers)}
    return (
        by_units | {f"block_{i}/fc2": "inputs" for i in range(layers)} | {"head/columns": "inputs"}
    )
