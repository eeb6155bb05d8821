"""A block of the Transformer: what mixes steps, then a feed-forward net, each with a residual.

Source: Chaudhary 2025 (arXiv 2510.21908). Additions: positional encodings, an attention window,
memories beside or in place of attention (`plasticity.model.mixers`), and levels in the place of the
feed-forward net (`plasticity.model.levels`).
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from flax import linen as nn

from plasticity.backbone import FastRead
from plasticity.model.attention import Attention
from plasticity.model.dropout import dropped
from plasticity.model.levels import Level, LevelSpec, periods
from plasticity.model.memory_mixer import MemorySpec
from plasticity.model.mixers import MIXERS
from plasticity.model.parts import plastic_parts
from plasticity.model.plastic_dense import PlasticDense, activated
from plasticity.settings import Settings, setting, size
from plasticity.shares import Share
from plasticity.types import Array

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
    plastic: str = setting(
        "feed_forward", "parts with fast weights: feed_forward, attention, head; or none"
    )
    tied: bool = setting(False, "tokens as inputs: answers are products with their embeddings")
    mixer: str = setting("attention", "what mixes steps", choices=MIXERS)
    levels: str = setting(
        "", "periods of feed-forward levels that learn in context, as 1,4,16; empty: a static net"
    )
    level_rate: float = setting(1.0, "largest rate of a level, over its period and width", above=0)

    @property
    def level_specs(self) -> tuple[LevelSpec, ...]:
        """The levels of a block."""
        sizes = (self.width, self.feed_forward, self.level_rate)
        return tuple(LevelSpec(period, *sizes) for period in periods(self.levels))

    @property
    def slow_attention(self) -> bool:
        """Whether attention alone mixes steps, and carries no fast weights."""
        return self.mixer == "attention" and "attention" not in plastic_parts(self.plastic, PARTS)

    def check(self) -> None:
        """Raises ValueError for parts that do not exist or sizes that do not divide."""
        parts = plastic_parts(self.plastic, PARTS)
        if "attention" in parts and self.mixer != "attention":
            raise ValueError(
                f"model.plastic={self.plastic!r}: attention must not be plastic beside a memory, "
                f"which model.mixer={self.mixer!r} is"
            )
        if self.level_specs and parts:
            raise ValueError(
                f"model.plastic={self.plastic!r} must be 'none' beside model.levels="
                f"{self.levels!r}: plastic layers are written step by step"
            )
        if self.width % self.heads:
            raise ValueError(
                f"model.heads={self.heads} must divide model.width={self.width} without remainder"
            )
        if self.position == "rotary" and (self.width // self.heads) % 2:
            raise ValueError(
                "model.position='rotary' needs an even width per head, model.width / model.heads"
            )


class Block(nn.Module):
    """Attention, then a feed-forward net of two layers or a chain of levels; all are residual."""

    settings: TransformerSettings
    memory: MemorySpec | None
    share: Share | None = None  # of the hidden units, and of the heads of slow attention

    def setup(self) -> None:
        """Creates the parts. Their names are names of parameters and of plastic layers."""
        s, memory = self.settings, self.memory
        parts = plastic_parts(s.plastic, PARTS)
        self.attention_norm = nn.LayerNorm(NORM_EPSILON)
        rotary, plastic = s.position == "rotary", "attention" in parts
        arguments = (s.heads, s.attention_window, rotary, s.dropout, plastic)
        if memory is None:
            self.attention = Attention(*arguments, share=self.share if s.slow_attention else None)
        else:
            attend = partial(Attention, *arguments, memory.settings.persistent)
            self.mixer = MIXERS[s.mixer].make(attend, memory, s.heads, s.dropout)
        self.drop = nn.Dropout(s.dropout)
        self.levels = [Level(spec) for spec in s.level_specs]
        if self.levels:
            self.level_norms = [nn.LayerNorm(NORM_EPSILON) for _ in self.levels]
            return
        self.feed_forward_norm = nn.LayerNorm(NORM_EPSILON)
        dense = partial(PlasticDense, plastic="feed_forward" in parts, share=self.share)
        self.fc1 = dense(s.feed_forward, side="outputs")
        self.fc2 = dense(s.width, side="inputs")

    def attend(
        self,
        x: Array,
        past: Sequence[Any],
        position: Array,
        fast: FastRead,
        independent: bool,
        deterministic: bool,
    ) -> tuple[Array, Any, dict[str, Any]]:
        """The first half: x [S, D] -> x [S, D], the entry of the past, activities."""
        mix = self.attention if self.memory is None else self.mixer
        arguments = (past, position, fast, independent, deterministic)
        mixed, entry, active = mix(self.attention_norm(x), *arguments)
        return x + self.drop(mixed, deterministic=deterministic), entry, active

    def feed_forward(
        self, x: Array, fast: FastRead, deterministic: bool
    ) -> tuple[Array, dict[str, Any]]:
        """The second half: x [S, D] -> x [S, D], activities."""
        if self.levels:
            return self._chain(x, fast, deterministic)
        post, active = self.fc1(self.feed_forward_norm(x), fast)
        hidden = nn.gelu(post, approximate=False)
        out, active_out = self.fc2(dropped(self.drop, hidden, deterministic, self.share, 1), fast)
        x = x + self.drop(out, deterministic=deterministic)
        return x, activated(active, hidden) | active_out

    def _chain(self, x: Array, fast: FastRead, deterministic: bool) -> tuple[Array, dict[str, Any]]:
        activities: dict[str, Any] = {}
        for norm, level in zip(self.level_norms, self.levels, strict=True):
            out, tokens = level(norm(x), fast)
            x = x + self.drop(out, deterministic=deterministic)
            activities |= tokens
        return x, activities


def window(settings: TransformerSettings, memory: MemorySpec | None) -> int:
    """See `Backbone.window`."""
    steps_back = 0 if memory is None else max(memory.settings.convolution - 1, 0)
    return MIXERS[settings.mixer].window(settings.attention_window, steps_back)


def check_memory(settings: TransformerSettings, memory: MemorySpec | None) -> None:
    """Checks that mixer and memory go together.

    Raises:
      ValueError: the mixer needs a memory or has none, or a setting of one excludes the other.
    """
    mixer = f"model.mixer={settings.mixer!r}"
    if (memory is None) != (settings.mixer == "attention"):
        raise ValueError(f"{mixer} {'needs a' if memory is None else 'has no'} memory")
    if memory is None:
        return
    if settings.width % memory.settings.heads:
        raise ValueError(
            f"site.heads={memory.settings.heads} must divide model.width={settings.width} without "
            "remainder"
        )
    if settings.mixer in ("gate", "layer") and settings.attention_window < 0:
        raise ValueError(
            f"model.attention_window={settings.attention_window} must be at least 0 for {mixer}, "
            "which is attention and a memory"
        )
    site, plastic = memory.site, plastic_parts(settings.plastic, PARTS)
    stretch = max(site.frozen, memory.settings.segment * (settings.mixer == "context"))
    if plastic and (stretch > 1 or site.writes > 1):
        raise ValueError(
            f"model.plastic={settings.plastic!r} must be 'none': plastic layers are written step "
            f"by step, and this memory takes {stretch} tokens and {site.writes} writes at a time"
        )
