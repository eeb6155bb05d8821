"""What stands in the place of attention in a block: attention, a memory, or both together.

  attention  y = A(x)
  memory     y = M(x)
  gate       y = norm(A(x)) * sigmoid(norm(M(x)))
  layer      y = A(norm(M(x)))
  context    of a segment x, h = M(x) read before it, y = A([h, x]) within it, y is written to M:
             y * sigmoid(norm(M(y)))

A is attention with `persistent` learned keys and values, M a memory layer.

Source: Behrouz et al. 2024 (arXiv 2501.00663), memory as gate, layer and context. Departures:
persistent tokens are keys and values of attention, which the memory does not read; the gates, which
the paper leaves open, are sigmoids; in `context` the convolution of the memory starts anew
with each segment, and every call begins a segment, as queries do.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import FastRead
from plasticity.model.attention import Attention
from plasticity.model.convolution import Inputs
from plasticity.model.memory_mixer import MemoryMixer, MemorySpec
from plasticity.model.scores import KeyValue
from plasticity.registry import exportable
from plasticity.types import Array

Result = tuple[Array, Any, dict[str, Any]]  # mixed [S, D], entry of the past, activities


class Both(NamedTuple):
    """What later steps read of attention and of a memory's convolution."""

    attention: KeyValue
    memory: Inputs | tuple[()]


exportable(Both)


class _Combined(nn.Module):
    """Attention and a memory in one block.

    Attributes:
      attend: makes attention.
      spec: of the memory.
    """

    attend: Callable[[], Attention]
    spec: MemorySpec

    def setup(self) -> None:
        """Creates the parts."""
        self.attention = self.attend()
        self.memory = MemoryMixer(self.spec)
        self.memory_norm = nn.RMSNorm()

    def _past(self, past: Sequence[Both]) -> tuple[list[KeyValue], list[Inputs]]:
        inputs = [segment.memory for segment in past if isinstance(segment.memory, Inputs)]
        return [segment.attention for segment in past], inputs


class MemoryAsGate(_Combined):
    """y = norm(A(x)) * sigmoid(norm(M(x)))."""

    def setup(self) -> None:
        """Creates the parts."""
        super().setup()
        self.attention_norm = nn.RMSNorm()

    def __call__(self, x: Array, past: Sequence[Both], *arguments: Any) -> Result:
        """As `Attention`."""
        keys, inputs = self._past(past)
        attended, entry, active = self.attention(x, keys, *arguments)
        recalled, other, tokens = self.memory(x, inputs, *arguments)
        gate = jax.nn.sigmoid(self.memory_norm(recalled))
        return self.attention_norm(attended) * gate, Both(entry, other), active | tokens


class MemoryAsLayer(_Combined):
    """y = A(norm(M(x)))."""

    def __call__(self, x: Array, past: Sequence[Both], *arguments: Any) -> Result:
        """As `Attention`."""
        keys, inputs = self._past(past)
        recalled, other, tokens = self.memory(x, inputs, *arguments)
        attended, entry, active = self.attention(self.memory_norm(recalled), keys, *arguments)
        return attended, Both(entry, other), active | tokens


class MemoryAsContext(nn.Module):
    """Segments: h = M(x) is read, y = A([h, x]), y is written to M; see the module.

    Attributes:
      spec: of the memory. heads: of attention. dropout: rate, applied to its weights.
    """

    spec: MemorySpec
    heads: int
    dropout: float

    def setup(self) -> None:
        """Creates the parts."""
        width, count = self.spec.width, self.spec.settings.persistent
        self.memory = MemoryMixer(self.spec)
        self.memory_norm = nn.RMSNorm()
        self.query_key_value = nn.Dense(3 * width)
        self.out = nn.Dense(width)
        self.drop = nn.Dropout(self.dropout)
        shape = (2, count, self.heads, width // self.heads)
        self.persistent = self.param("persistent", nn.initializers.normal(0.02), shape)

    def __call__(
        self,
        x: Array,
        past: Sequence[Any],
        position: Array,
        fast: FastRead,
        independent: bool,
        deterministic: bool,
    ) -> Result:
        """As `Attention`; `past` is empty."""
        del past
        size = len(x) if independent else self.spec.settings.segment
        found, written = [], []
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            y, tokens = self._segment(x[part], position[part], fast, independent, deterministic)
            found.append(y)
            written.append(tokens)
        name = "/".join(self.memory.path)
        tokens = jax.tree.map(lambda *a: jnp.concatenate(a) if jnp.ndim(a[0]) else a[0], *written)
        return jnp.concatenate(found), (), {name: tokens}

    def _segment(
        self, x: Array, position: Array, fast: FastRead, independent: bool, deterministic: bool
    ) -> tuple[Array, Any]:
        name = "/".join(self.memory.path)
        asked, _ = self.memory.tokens(x, (), position, independent)
        recalled = self.memory.finish(x, fast.recall(name, asked))
        y = self._attend(recalled, x, independent, deterministic)
        tokens, _ = self.memory.tokens(y, (), position, independent)
        answers = self.memory.finish(y, fast.associate(name, tokens))
        return y * jax.nn.sigmoid(self.memory_norm(answers)), tokens

    def _attend(self, recalled: Array, x: Array, independent: bool, deterministic: bool) -> Array:
        """Attention of x [C, D] to persistent tokens, to what was recalled [C, D] and to itself."""
        steps, width = x.shape
        stacked = self.query_key_value(jnp.concatenate([recalled, x]))
        heads = jnp.moveaxis(stacked.reshape(2 * steps, 3, self.heads, -1), 1, 0)
        query, key, value = heads[0, steps:], heads[1], heads[2]
        key, value = (
            jnp.concatenate([p, a]) for p, a in zip(self.persistent, (key, value), strict=True)
        )
        itself = jnp.eye(steps, dtype=bool) if independent else jnp.tri(steps, dtype=bool)
        always = jnp.ones((steps, self.spec.settings.persistent), bool)
        mask = jnp.concatenate([always, itself, itself], 1)
        scores = jnp.einsum("shw,phw->hsp", query, key) * query.shape[-1] ** -0.5
        weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(scores.dtype).min))
        weights = self.drop(weights, deterministic=deterministic)
        mixed = jnp.einsum("hsp,phw->shw", weights, value)
        return self.out(mixed.reshape(steps, width))


class Mixer(NamedTuple):
    """How a mixer is made, and what it leaves for later steps.

    make: (makes attention, the memory, heads of attention, dropout) -> module like `Attention`.
    window: (that of attention, steps back that a convolution reads) -> see `Backbone.window`.
    blank: (blank entries of attention, those of a convolution) -> those of the mixer.
    """

    make: Callable[[Callable[[], Attention], MemorySpec, int, float], nn.Module]
    window: Callable[[int, int], int]
    blank: Callable[[KeyValue, Inputs | tuple[()]], Any]


def _wider(attention: int, taps: int) -> int:
    """The window of attention and a convolution together; 0 means all steps."""
    return attention and max(attention, taps)


# {model.mixer: how it is made}
MIXERS: dict[str, Mixer] = {
    "attention": Mixer(
        lambda attend, memory, heads, dropout: attend(),
        lambda attention, taps: attention,
        lambda keys, inputs: keys,
    ),
    "memory": Mixer(
        lambda attend, memory, heads, dropout: MemoryMixer(memory),
        lambda attention, taps: taps or -1,
        lambda keys, inputs: inputs,
    ),
    "gate": Mixer(
        lambda attend, memory, heads, dropout: MemoryAsGate(attend, memory), _wider, Both
    ),
    "layer": Mixer(
        lambda attend, memory, heads, dropout: MemoryAsLayer(attend, memory), _wider, Both
    ),
    "context": Mixer(
        lambda attend, memory, heads, dropout: MemoryAsContext(memory, heads, dropout),
        lambda attention, taps: -1,
        lambda keys, inputs: (),
    ),
}
