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
from plasticity.model import scores
from plasticity.model.attention import own_heads
from plasticity.model.block import (
    NORM_EPSILON,
    PARTS,
    Block,
    TransformerSettings,
    check_memory,
    window,
)
from plasticity.model.conv4 import EncoderSettings, ImageEmbedding
from plasticity.model.convolution import blank_inputs
from plasticity.model.head import Head, modulator_column
from plasticity.model.levels import sites_of_levels
from plasticity.model.linear import linear, table
from plasticity.model.memory_mixer import MemoryMixer, MemorySpec
from plasticity.model.mixers import MIXERS
from plasticity.model.parts import check_tied, first_inputs, initialized, plastic_parts
from plasticity.model.positions import learned
from plasticity.shares import Share
from plasticity.steps import join, length, no_fast_weights
from plasticity.task import Observation, TaskShape
from plasticity.types import Activity, Array, DType, Key, Outputs, PyTree


class Transformer(nn.Module):
    """Embedding, blocks, final norm and head, in the two parts `prepare` and `__call__`.

    The attention of the first block, if it is slow, depends on the inputs only. `prepare` computes
    it for all steps of a piece at once: the entries of this block are those of `prepare`, not of
    the past.
    """

    settings: TransformerSettings
    encoder_settings: EncoderSettings
    task: TaskShape  # without reference images
    memory: MemorySpec | None = None
    share: Share | None = None  # of the blocks

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
        parts_of_block = (s, self.memory, self.share)
        self.blocks = [Block(*parts_of_block, name=f"block_{i}") for i in range(s.layers)]
        self.final_norm = nn.LayerNorm(NORM_EPSILON)
        self.head = Head(task.outputs, s.auxiliary, "head" in parts)

    def prepare(
        self,
        ahead: Sequence[Any],
        inputs: Array | Observation,
        queries: Array | Observation | None,
        first: Array | int,
        reference_images: Array | None,
        deterministic: bool,
    ) -> tuple[Array, Array | None, list[Any]]:
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
        if not self.settings.slow_attention:
            return x_steps, x_queries, []
        attend = partial(self.blocks[0].attend, fast=no_fast_weights, deterministic=deterministic)
        x_steps, entry, _ = attend(x_steps, ahead, position[:steps], independent=False)
        if x_queries is not None:
            x_queries, *_ = attend(x_queries, (*ahead, entry), position[steps:], independent=True)
        return x_steps, x_queries, [] if self.settings.attention_window < 0 else [entry]

    def __call__(
        self,
        x: Array,
        past: Sequence[Sequence[Any]],
        position: Array,
        fast: FastRead,
        independent: bool,
        deterministic: bool,
    ) -> tuple[Outputs, dict[str, Any], list[Any]]:
        """Maps prepared x [S, D] to outputs [S, ...], activities, entries of blocks with a past."""
        activities: dict[str, Any] = {}
        entries: list[Any] = []
        no_past = window(self.settings, self.memory) < 0
        for i, block in enumerate(self.blocks):
            if i or not self.settings.slow_attention:
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

    def first(self) -> dict[str, Any]:
        """The memories of sites at the start of an episode; see `Backbone.first`."""
        memories = []
        for block in self.blocks:
            if self.memory is not None:
                mixer = block.mixer
                memories.append(mixer if isinstance(mixer, MemoryMixer) else mixer.memory)
            memories += block.levels
        return {"/".join(memory.path): memory.initial() for memory in memories}


def transformer(
    settings: TransformerSettings,
    encoder: EncoderSettings,
    task: TaskShape,
    memory: MemorySpec | None = None,
    share: Share | None = None,
) -> Backbone:
    """Builds the backbone for a task.

    Args:
      settings: sizes and variants.
      encoder: embeds inputs that are images; a table embeds tokens.
      task: sizes of inputs and outputs.
      memory: of mixers that have one.
      share: builds the backbone of one of the devices that share the blocks.

    Raises:
      ValueError: the mixer needs a memory that is not given, or settings do not go together, or
        devices do not divide the hidden units or the heads.
    """
    check_memory(settings, memory)
    check_tied(settings.tied, task)
    part = partial(transformer, settings, encoder, task, memory)
    settings = settings if share is None else _of_one_device(settings, share.devices)
    sizes = (settings, encoder, task._replace(reference_images=None), memory)
    module = Transformer(*sizes, share)
    ahead, blank = int(settings.slow_attention), partial(_blank, settings, memory, share)

    def prepare(slow: PyTree, *arguments: Any) -> Any:
        *steps, key = arguments
        rest = (task.reference_images, key is None)
        return module.apply(slow, *steps, *rest, rngs=_rngs(key), method="prepare")

    first = partial(module.apply, method="first")
    init, shapes, names = initialized(Transformer(*sizes), partial(_first_step, task))
    levels = sites_of_levels(names, settings.level_specs)
    sites = {name: levels.get(name, memory) for name in names}
    return Backbone(
        init,
        shapes,
        task.outputs + 1 + settings.auxiliary,
        prepare,
        partial(_forward, module),
        partial(blank, settings.layers - ahead),
        window(settings, memory),
        {} if levels else _shard_by(settings),
        partial(blank, ahead),
        partial(modulator_column, auxiliary=settings.auxiliary),
        {name: spec.site_shape for name, spec in sites.items() if spec is not None},
        first if levels or (memory is not None and not memory.site.empty) else None,
        {name: spec.rule for name, spec in levels.items()},
        at_once=True,
        share=share,
        part=None if levels else part,
    )


def _forward(
    module: Transformer,
    slow: PyTree,
    past: Sequence[PyTree],
    x: Array,
    position: Array,
    fast: FastRead,
    key: Key | None,
    independent: bool = False,
) -> Forward:
    """`Backbone.forward`."""
    arguments = (x, past, position, fast, independent, key is None)
    return Forward(*module.apply(slow, *arguments, rngs=_rngs(key)))


def _of_one_device(settings: TransformerSettings, devices: int) -> TransformerSettings:
    """Those of the network of a device that has a part of the hidden units and of the heads."""
    for name in ("feed_forward", "heads") if settings.slow_attention else ("feed_forward",):
        if (number := getattr(settings, name)) % devices:
            raise ValueError(f"model.{name}={number} must be a multiple of mesh.model={devices}")
    return dataclasses.replace(settings, feed_forward=settings.feed_forward // devices)


def _first_step(task: TaskShape, module: Transformer) -> dict[str, Activity]:
    """One step without fast weights."""
    x, *_ = module.prepare((), first_inputs(task), None, 0, task.reference_images, True)
    return module(x, (), jnp.zeros((1,), jnp.int32), no_fast_weights, False, True)[1]


def _rngs(key: Key | None) -> dict[str, Key] | None:
    return None if key is None else {"dropout": key}


def _blank(
    settings: TransformerSettings,
    memory: MemorySpec | None,
    share: Share | None,
    blocks: int,
    slots: int,
    dtype: DType,
) -> list[Any]:
    """Entries of the past that hold nothing, for so many blocks; see `Backbone.blank`."""
    heads = own_heads(settings.heads, share if settings.slow_attention else None)
    keys = scores.blank(slots, heads, settings.width // settings.heads, dtype)
    inputs: Any = ()
    if memory is not None and memory.settings.convolution > 1:
        inputs = blank_inputs(slots, memory.width_of_channels, dtype)
    segment = MIXERS[settings.mixer].blank(keys, inputs)
    return [] if window(settings, memory) < 0 else [segment] * blocks


def _shard_by(settings: TransformerSettings) -> dict[str, str]:
    """Feed-forward nets by hidden units: a device computes its share in fc1 and reads it in fc2.

    Slow attention by heads, likewise. The head of the network is whole: it has few outputs, and its
    parts would cost one more sum at every step.
    """
    sides = {"fc1": "outputs", "fc2": "inputs"}
    if settings.slow_attention:
        sides |= {"attention/query_key_value": "heads", "attention/out": "inputs"}
    blocks = [f"block_{i}" for i in range(settings.layers)]
    return {f"{block}/{layer}": side for block in blocks for layer, side in sides.items()}
