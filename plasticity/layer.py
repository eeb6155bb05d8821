"""A memory layer for Linen networks of one's own.

layer = MemoryLayer("gated_delta", MemoryLayerSettings(heads=4))
params = layer.init(jax.random.key(0), xs[0])              # xs [B, T, D]
ys, state = jax.vmap(lambda x: layer.apply(params, x))(xs)
more, state = jax.vmap(lambda x, s: layer.apply(params, x, s))(further, state)  # goes on
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.arguments import check_like
from plasticity.associate import associate
from plasticity.heads import axes
from plasticity.marks import Marks
from plasticity.model import MemoryLayerSettings, MemorySpec
from plasticity.model.convolution import Inputs, blank_inputs
from plasticity.model.memory_mixer import MemoryMixer
from plasticity.registry import exportable, lookup
from plasticity.rules import RULES
from plasticity.site_steps import check_rule
from plasticity.tokens import check_marks
from plasticity.types import Array, Rule

# Settings that only blocks of the Transformer have a use for.
OF_MIXERS = {"persistent": "attention beside its memory", "segment": "attention within segments"}


class LayerState(NamedTuple):
    """What a memory layer takes over from one call to the next."""

    memory: dict[str, Any]  # {layer of the memory: TraceMatrix [H, ...]}
    inputs: Array | tuple[()]  # the last inputs of the convolution, [taps - 1, channels]


exportable(LayerState)


class MemoryLayer(nn.Module):
    """Projections, convolution, gates and norms around a rule; see `MemoryLayerSettings`.

    Attributes:
      rule: a rule with a meaning at memory sites, or its name with the default settings.
      settings: of the layer.

    >>> import jax, jax.numpy as jnp
    >>> import plasticity as P
    >>> layer = P.MemoryLayer("gated_delta", P.MemoryLayerSettings(heads=2))
    >>> x = jnp.ones((5, 8))  # [T, D]
    >>> params = jax.jit(layer.init)(jax.random.key(0), x)
    >>> y, state = jax.jit(layer.apply)(params, x)  # more, state = layer.apply(params, x, state)
    >>> y.shape
    (5, 8)
    """

    rule: Rule | str
    settings: MemoryLayerSettings = MemoryLayerSettings()

    @nn.compact
    def __call__(
        self,
        x: Array,
        state: LayerState | None = None,
        *,
        reset: Array | None = None,
        valid: Array | None = None,
    ) -> tuple[Array, LayerState]:
        """Maps x [T, D] to [T, D], of one episode.

        Args:
          x: the stream.
          state: that an earlier call returned; None: nothing was read before. Every call starts a
            new stretch of a frozen rule.
          reset: [T] bool, True at the first token of every document of a packed sequence.
          valid: [T] bool, False at the padding at the end of a shorter sequence.

        Returns:
          The result, and the state after the last valid token.

        Raises:
          ValueError: the rule is unknown, has no meaning at a memory site, or is named twice; x is
            not floating [T, D], or the heads do not divide D; reset or valid is not [T] bool.
        """
        rule = self._checked(x)
        reset, valid = check_marks(Marks(reset, valid), len(x))
        if reset is not None and valid is not None:
            reset = reset & valid  # padding begins no document
        spec = MemorySpec(rule, self.settings, x.shape[-1])
        mixer = MemoryMixer(spec)
        taps = self.settings.convolution
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        first = jax.tree.map(lambda a: a.astype(dtype), mixer.initial())
        before = max(taps - 1, 0)
        blank = blank_inputs(before, spec.width_of_channels, dtype).value if before else ()
        if state is None:
            state = LayerState(first, blank)
        check_like("state", state, LayerState(first, blank))
        position = before + jnp.arange(len(x))
        past = [] if isinstance(state.inputs, tuple) else [Inputs(state.inputs, jnp.arange(before))]
        tokens, entry = mixer.tokens(x, past, position, False, reset)
        run = partial(associate, rule, chunk=self.settings.chunk, reset=reset, valid=valid)

        def of_head(tokens: Any, memory: Any, first: Any) -> tuple[Array, Any]:
            return run(tokens, memory, initial=first)

        over_heads = jax.vmap(of_head, (axes(tokens, 1), 0, 0), (1, 0))
        answers, memory = over_heads(tokens, state.memory, first)
        inputs: Array | tuple[()] = ()
        if not isinstance(state.inputs, tuple):
            count = len(x) if valid is None else valid.sum()
            whole = jnp.concatenate([state.inputs, entry.value])
            if reset is not None:  # a later call sees nothing of documents that have ended
                begins = jnp.where(reset, position, 0).max()
                whole = jnp.where((jnp.arange(len(whole)) < begins)[:, None], 0, whole)
            inputs = jax.lax.dynamic_slice_in_dim(whole, count, before)
        return mixer.finish(x, answers), LayerState(memory, inputs)

    def _checked(self, x: Array) -> Rule:
        """The rule. Checks it, the settings and x; the errors are those of `__call__`."""
        if self.settings.rule:
            raise ValueError(
                f"MemoryLayerSettings.rule={self.settings.rule!r} must be '': the rule of a "
                f"MemoryLayer is its first argument, here {self.rule!r}"
            )
        for field, needs in OF_MIXERS.items():
            value, default = getattr(self.settings, field), getattr(MemoryLayerSettings, field)
            if value != default:
                raise ValueError(
                    f"MemoryLayerSettings.{field}={value!r} must be {default!r}: a MemoryLayer has "
                    f"no {needs}"
                )
        rule = lookup(RULES, self.rule, "rule")() if isinstance(self.rule, str) else self.rule
        if check_rule(rule).site is None:
            raise ValueError(f"rule={self.rule!r} has no meaning at a memory site")
        if x.ndim != 2 or not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"x is {x.dtype}{list(x.shape)}, it should be floating [T, D]; jax.vmap adds B"
            )
        if x.shape[1] % self.settings.heads:
            raise ValueError(f"heads={self.settings.heads} must divide D={x.shape[1]}")
        return rule
