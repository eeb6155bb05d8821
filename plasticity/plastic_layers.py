"""The plastic layers of a network of one's own, and how a step reads them; see `plasticity.own`."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from plasticity.arguments import check_shape, leading_axes
from plasticity.backbone import FastRead
from plasticity.memory import ENGINES
from plasticity.network import NetworkState
from plasticity.registry import lookup
from plasticity.site_steps import check_rule, check_single, site_of
from plasticity.tokens import check_tokens, prepared_shape
from plasticity.types import (
    Activity,
    Array,
    FastWeights,
    Key,
    LayerShape,
    Memory,
    Plasticity,
    Rule,
    SiteShape,
    Token,
)

S = TypeVar("S")


@dataclasses.dataclass(frozen=True, eq=False)  # hashable: a static argument of jax.jit
class Plastic:
    """The plastic layers of a network: how they are written, and how they are stored.

    Attributes:
      rule: what is written, a `Rule`.
      memory: the engine that holds it, a `Memory`.
      layers: {name: shape} of the feed-forward sites.
      sites: {name: (O, I) or (H, O, I)} of the memory sites.
      head: O + A + 1, the numbers that an internal loss reads; 0 for rules without one.
    """

    rule: Rule
    memory: Memory
    layers: dict[str, LayerShape]
    sites: dict[str, tuple[int, ...]]
    head: int

    def init(self, key: Key) -> Plasticity:
        """Initial theta, in float32: the coefficients of plasticity that the outer loop learns."""
        return self.rule.init(key, self.layers, self.head)

    def site_shapes(self) -> dict[str, SiteShape]:
        """The memories of the sites, {name: shape}.

        Raises:
          ValueError: a site has no shape (O, I) or (H, O, I), or its memory does not start empty.
        """
        return {name: _site(self.rule, shape) for name, shape in self.sites.items()}

    def weights(self, theta: Plasticity, state: NetworkState) -> dict[str, FastWeights]:
        """Fast weights of B episodes, {layer: (weight [B, O, I], bias [B, O])}.

        Args:
          theta: that the state was made with.
          state: that `run` or `step` returned. Under a rule that never writes, nothing is returned.
        """
        weights = jax.vmap(self.memory.weights, (0, None))
        return {
            n: weights(state.fast[n], theta.synapses[n]) for n in state.fast if n in self.layers
        }


def plastic(
    rule: Rule,
    layers: Mapping[str, tuple[int, int]] | None = None,
    *,
    sites: Mapping[str, tuple[int, ...]] | None = None,
    memory: str = "chunked",
    chunk: int = 32,
    head: int = 0,
) -> Plastic:
    """Describes the plastic layers of a network.

    Args:
      rule: how they are written, for example `hebbian(eta0=1.0)`.
      layers: {name: (O, I)}, the outputs and inputs of layers that `fast(name, ...)` reads.
      sites: {name: (O, I) or (H, O, I)}, the numbers in a value and in a key of one head, and the
        number of heads, of memory sites that `fast.associate(name, ...)` writes and reads.
      memory: the engine: "dense", "factored" or "chunked".
      chunk: steps per chunk of the engine.
      head: O + A + 1 for a rule with an internal loss, which reads the answer (O numbers), the
        modulator and A auxiliary numbers.

    Raises:
      ValueError: the engine is unknown or cannot express the rule's writes, a name stands twice, or
        an argument that the rule needs is missing.

    >>> import jax
    >>> import plasticity as P
    >>> pl = P.plastic(P.hebbian(eta0=1.0), {"hid": (32, 21), "out": (4, 32)})
    >>> theta = pl.init(jax.random.key(0))
    >>> {name: synapse.alpha.shape for name, synapse in theta.synapses.items()}
    {'hid': (32, 21), 'out': (4, 32)}
    """
    layers, sites, rule = dict(layers or {}), dict(sites or {}), check_rule(rule)
    for argument, given, most in (("layers", layers, 2), ("sites", sites, 3)):
        for name, shape in given.items():
            _check_sizes(argument, name, shape, most)
    if not layers | sites or layers.keys() & sites.keys():
        raise ValueError(f"layers={layers} and sites={sites} must name a layer, each name once")
    if layers and rule.write is None and not rule.static:
        raise ValueError(f"layers={layers}: this rule is one of memory sites, give sites=")
    if sites and rule.site is None and not rule.static:
        raise ValueError(f"sites={sites}: this rule has no meaning at a memory site")
    if rule.internal_loss is not None and head < 2:
        raise ValueError(f"head={head} must be O + A + 1: the internal loss of this rule reads it")
    if rule.internal_loss is None and head:
        raise ValueError(f"head={head} has no effect: this rule has no internal loss that reads it")
    engine = lookup(ENGINES, memory, "memory")
    shapes = {n: LayerShape(*s) for n, s in layers.items()}
    made = Plastic(rule, engine(chunk, rule.form), shapes, sites, head)
    made.site_shapes()
    return made


def _check_sizes(argument: str, name: str, shape: Any, most: int) -> None:
    """Raises ValueError unless a shape is of two to `most` numbers from 1 on."""
    right = "(O, I)" if most == 2 else "(O, I) or (H, O, I)"
    whole = isinstance(shape, Sequence) and all(isinstance(n, int | np.integer) for n in shape)
    if not whole or not 2 <= len(shape) <= most or min(shape) < 1:
        raise ValueError(
            f"{argument}: {name!r} is {shape!r}, it should be {right}, integers above 0"
        )


def _site(rule: Rule, shape: tuple[int, ...]) -> SiteShape:
    """The memories for keys and values of shape (O, I) or (H, O, I)."""
    heads, outputs, inputs = (1, *shape)[-3:]
    if rule.static:
        return SiteShape(heads, {"": LayerShape(outputs, inputs)})  # never written
    site = check_single(site_of(rule))
    if not site.empty:
        raise ValueError(
            "sites: the memory of this rule does not start empty; `associate` takes it"
        )
    key, value = jnp.zeros(inputs), jnp.zeros(outputs)
    return SiteShape(heads, site.layers(prepared_shape(site, Token(key, key, value))))


class Fast:
    """The fast weights, as a step of a network reads them."""

    def __init__(self, plastic: Plastic, read: FastRead):
        self._plastic, self._read, self._trace = plastic, read, _current_trace()
        self.activities: dict[str, Activity | Token] = {}

    def __call__(
        self,
        layer: str,
        pre: Array,
        slow: Array,
        activation: Callable[[Array], Array] | None = None,
    ) -> Array:
        """activation(slow + w pre + b), [O].

        Args:
          layer: its name. Call each layer once per step, and not inside a transformation such as
            `jax.checkpoint`: the rule needs what this call saw, to compute the write.
          pre: its input, [I].
          slow: its slow output, [O].
          activation: its nonlinearity; None: none.

        Raises:
          ValueError: the layer is unknown or was called before, a shape is not the layer's, or
            `slow` is not of a floating type.
        """
        shape = self._new(self._plastic.layers, layer)
        check_shape(pre, (shape.inputs,), f"pre of layer {layer!r}")
        check_shape(slow, (shape.outputs,), f"slow of layer {layer!r}")
        if not jnp.issubdtype(dtype := jnp.result_type(slow), jnp.floating):
            raise ValueError(f"slow of layer {layer!r} has dtype {dtype}, not a floating one")
        # Without fast weights, under a rule that never writes, the read is a zero [].
        recall = jnp.broadcast_to(self._read(layer, pre[None]), (1, shape.outputs))[0].astype(
            slow.dtype
        )
        post = slow + recall
        out = post if activation is None else activation(post)
        self.activities[layer] = Activity(pre, post, out, jnp.zeros_like(post), recall)
        return out

    def associate(self, site: str, token: Token) -> Array:
        """Writes a token at a memory site and answers its query, [O]; see `Site.order`.

        Args:
          site: its name. Each site is called once in a step, as a layer is.
          token: query, key [I], value [O] and what the rule takes; all have the axis H in front if
            the site has heads, and so has the answer.

        Raises:
          ValueError: the site is unknown or was called before, or the token does not fit it.
        """
        shape = self._new(self._plastic.sites, site)
        heads, (outputs, inputs) = shape[:-2], shape[-2:]
        query, key, value = (jnp.shape(a) for a in token[:3])
        if not query == key == (*heads, inputs) or value != (*heads, outputs):
            raise ValueError(
                f"token of site {site!r}: query {query}, key {key}, value {value} should be "
                f"{(*heads, inputs)}, the same, and {(*heads, outputs)}, as `plastic` was told"
            )
        self._check_numbers(f"token of site {site!r}", token, heads)
        token, dtype = token.filled(), jnp.result_type(token.value)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"token of site {site!r}: value has dtype {dtype}, not a floating one")

        def per_head(a: Any) -> Array:
            a = jnp.asarray(a, jnp.promote_types(dtype, jnp.float32))  # that of the fast weights
            return jnp.broadcast_to(a, (*heads, *a.shape)) if heads and not a.ndim else a

        token = jax.tree.map(per_head, token)
        if not heads:
            token = jax.tree.map(lambda a: a[None], token)
        self.activities[site] = token
        answer = self._read.associate(site, jax.tree.map(lambda a: a[None], token))[0]
        return (answer if heads else answer[0]).astype(dtype)

    def _check_numbers(self, name: str, token: Token, heads: tuple[int, ...]) -> None:
        """Raises ValueError unless a token has the rate, the keep and the gates of its rule."""
        rule = self._plastic.rule
        if heads:
            leading_axes(name, [a for a in jax.tree.leaves(token) if jnp.ndim(a)], "H")

        def as_one_step(a: Any) -> Any:
            return jnp.zeros((1, *jnp.shape(a)[len(heads) :])) if jnp.ndim(a) else a

        try:
            if not rule.static:
                steps = functools.partial(jax.tree.map, as_one_step, token)
                jax.eval_shape(lambda: check_tokens(site_of(rule), rule.form, steps()))
        except ValueError as error:
            raise ValueError(f"{name}, as T=1 step: {error}") from None

    def _new(self, known: Mapping[str, S], name: str) -> S:
        if name in self.activities:
            raise ValueError(f"layer {name!r} is called twice in a step")
        if self._trace != _current_trace():
            raise ValueError(
                f"layer {name!r} is called within a transformation, as jax.jit, jax.checkpoint or "
                "jax.lax.scan, in forward: the rule cannot see its activity; transform around `run`"
            )
        return lookup(known, name, "layer")


def _current_trace() -> Any:
    return core.get_opaque_trace_state(convention="plasticity")
