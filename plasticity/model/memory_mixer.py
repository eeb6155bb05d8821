"""A memory in the place of attention: keys, values and gates of the stream, written and read.

  q, k, v = convolution(x W),   q, k = norm(feature(q, k)),   v = norm(feature(v))
  y       = (norm(answer) * gate(x G)) V,   answer of the rule, head by head

Source: Schlag et al. 2021 (arXiv 2102.11174) and, for its parts, Yang et al. 2024 (arXiv
2412.06464). `MemoryLayerSettings` says which of the parts there are.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import FastRead
from plasticity.features import FEATURES, NORMS
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.model.convolution import Inputs, ShortConvolution
from plasticity.model.gates import GateMaker, Stream
from plasticity.model.memory_settings import OUTPUT_GATES, MemoryLayerSettings
from plasticity.tokens import prepared_shape
from plasticity.types import KEEP, RATE, Array, Gate, Key, LayerShape, Rule, Site, SiteShape, Token


class MemorySpec(NamedTuple):
    """The memory layers of a network of width D."""

    rule: Rule  # with a Site
    settings: MemoryLayerSettings
    width: int

    @property
    def site(self) -> Site:
        """The rule at a memory site."""
        assert self.rule.site is not None
        return self.rule.site

    @property
    def channels(self) -> dict[str, tuple[int, ...]]:
        """{"query" | "key" | "value": shape for one step}, before feature maps."""
        s, site = self.settings, self.site
        several = () if site.writes == 1 else (site.writes,)
        width = s.key_width or self.width // s.heads
        shapes = {
            "query": (s.heads, width),
            "key": (s.heads, *several, width),
            "value": (s.heads, *several, self.width // s.heads),
        }
        return {name: shape for name, shape in shapes.items() if name not in site.ignores}

    @property
    def width_of_channels(self) -> int:
        """How many numbers the channels of one step have."""
        return sum(math.prod(shape) for shape in self.channels.values())

    @property
    def shape(self) -> LayerShape:
        """The sizes of a value and a key of one head, after feature maps."""
        width = self.channels["key"][-1]
        feature = FEATURES[self.settings.feature]
        inputs = jax.eval_shape(feature, jax.ShapeDtypeStruct((width,), jnp.float32)).shape[0]
        return LayerShape(self.width // self.settings.heads, inputs)

    @property
    def memory(self) -> LayerShape:
        """The sizes of what is written, which `Site.prepare` may change."""
        several = () if self.site.writes == 1 else (self.site.writes,)
        key, value = (jnp.zeros((*several, n)) for n in (self.shape.inputs, self.shape.outputs))
        rate = jnp.zeros(several)
        return prepared_shape(self.site, Token(jnp.zeros(self.shape.inputs), key, value, rate))

    @property
    def layers(self) -> dict[str, LayerShape]:
        """The layers of one head's memory, {layer: shape}."""
        return self.site.layers(self.memory)

    @property
    def site_shape(self) -> SiteShape:
        """The shape of the memory site, with all heads."""
        return SiteShape(self.settings.heads, self.layers)


class MemoryMixer(nn.Module):
    """See the module. The memory is a site of the network, named by the module's path.

    Attributes:
      spec: the rule, the settings and the width.
    """

    spec: MemorySpec

    def setup(self) -> None:
        """Creates the parts; their names are names of parameters."""
        spec, s = self.spec, self.spec.settings
        self.project = nn.Dense(spec.width_of_channels, use_bias=False)
        if s.convolution:
            self.convolution = ShortConvolution(s.convolution)
        takes = (RATE, KEEP) if spec.site.takes is None else spec.site.takes
        self.gates = {g.name: GateMaker(g, s.heads, self._each(g), s) for g in takes}
        if s.output_norm:
            self.norm = nn.RMSNorm()
        if s.output_gate != "none":
            self.gate = nn.Dense(spec.width, use_bias=False)
        self.out = nn.Dense(spec.width, use_bias=False)
        if not spec.site.empty:
            self.first = {
                name: self.param(f"first_{name or 'memory'}", _first, s.heads, shape)
                for name, shape in spec.layers.items()
            }

    def _each(self, gate: Gate) -> int:
        """How many numbers of a gate one head has; 0: one."""
        spec, per = self.spec, gate.per
        shape = spec.shape
        if gate in (RATE, KEEP):
            shape, per = spec.memory, spec.rule.form.keep
            per = {"scalar": "token", "synapse": "output"}.get(per, per)
        if gate == RATE:
            per = "token" if per == "input" else per
            if spec.site.writes > 1:
                return spec.site.writes
        return {"token": 0, "input": shape.inputs, "output": shape.outputs}[per]

    def tokens(
        self,
        x: Array,
        past: Sequence[Inputs],
        position: Array,
        independent: bool,
        reset: Array | None = None,
    ) -> tuple[Token, Any]:
        """Tokens [S, H, ...] of x [S, D], and the entry that they add to the past."""
        spec, s = self.spec, self.spec.settings
        mixed = self.project(x)
        entry = Inputs(mixed, position) if s.convolution > 1 else ()
        if s.convolution:
            mixed = self.convolution(mixed, past, position, independent, reset)
        parts, start = {}, 0
        for name, shape in spec.channels.items():
            stop = start + math.prod(shape)
            parts[name] = mixed[:, start:stop].reshape(len(x), *shape)
            start = stop
        feature, norm = FEATURES[s.feature], NORMS[s.key_norm]
        for name in parts.keys() & {"query", "key"}:
            parts[name] = norm(feature(parts[name]))
        key = parts["key"]
        blank = jnp.zeros((*key.shape[:-1], spec.shape.outputs), key.dtype)
        value = self._value(parts["value"]) if "value" in parts else blank
        stretch = spec.site.frozen
        stream = Stream(x, key, jnp.arange(len(x)) % stretch, stretch)
        gates = {name: gate(stream) for name, gate in self.gates.items()}
        factors = {name: gates.pop(name) for name in ("rate", "keep") if name in gates}
        return Token(parts.get("query", key), key, value, **factors, gates=gates), entry

    def _value(self, value: Array) -> Array:
        s = self.spec.settings
        return NORMS[s.value_norm](FEATURES[s.value_feature](value))

    def finish(self, x: Array, answers: Array) -> Array:
        """The result [S, D] of answers [S, H, O] to the tokens of x [S, D]."""
        s = self.spec.settings
        answers = self.norm(answers) if s.output_norm else answers
        flat = answers.reshape(len(x), -1)
        if s.output_gate != "none":
            flat = flat * OUTPUT_GATES[s.output_gate](self.gate(x))
        return self.out(flat)

    def initial(self) -> dict[str, TraceMatrix]:
        """The memory before anything is written: {layer: [H, ...]}."""
        form, found = self.spec.rule.form, {}
        for name, shape in self.spec.layers.items():
            empty = jax.vmap(lambda _, s=shape: dense(form=form).init(s, jnp.float32))
            state = empty(jnp.arange(self.spec.settings.heads))
            if not self.spec.site.empty:
                weight = self.first[name]
                weight = weight if form.settle is None else jax.vmap(form.settle)(weight)
                state = state._replace(weight=weight)
            found[name] = state
        return found

    def __call__(
        self,
        x: Array,
        past: Sequence[Inputs],
        position: Array,
        fast: FastRead,
        independent: bool,
        deterministic: bool,
    ) -> tuple[Array, Any, dict[str, Any]]:
        """Maps x [S, D] at positions [S] to [S, D]; arguments as for `Attention`."""
        del deterministic
        tokens, entry = self.tokens(x, past, position, independent)
        name = "/".join(self.path)
        return self.finish(x, fast.associate(name, tokens)), entry, {name: tokens}


def _first(key: Key, heads: int, shape: LayerShape) -> Array:
    """Initial weights of a memory that does not start empty, per head."""
    return jax.random.normal(key, (heads, *shape)) * shape.inputs**-0.5
