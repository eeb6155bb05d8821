"""What a backbone is: a network with plastic layers, independent of any rule and memory."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from plasticity.shares import Share
from plasticity.types import Array, DType, Key, LayerShape, Outputs, PyTree, Rule, SiteShape, Token


class FastRead(NamedTuple):
    """How a backbone reads its fast weights, `fast(layer, pre)` and `fast.associate(site, tokens)`.

    Attributes:
      read: (layer, its inputs [S, I]) -> its fast part [S, O], or a zero [] if there is none.
      associate: (memory site, tokens [S, H, ...]) -> the answers [S, H, O] to their queries. Where
        all steps are taken at once, a site may be called several times, each time with the steps
        that follow.
      recall: like `associate`, but nothing is written.
    """

    read: Callable[[str, Array], Array]
    associate: Callable[[str, Token], Array]
    recall: Callable[[str, Token], Array]

    def __call__(self, layer: str, pre: Array) -> Array:
        """As `read`."""
        return self.read(layer, pre)


class Forward(NamedTuple):
    """Result of `Backbone.forward` for S steps."""

    outputs: Outputs  # [S, ...]
    activities: dict[str, Any]  # {layer: Activity, site: Token of heads}, [S, ...]; credit is zero
    entry: PyTree  # [S, ...], what these steps add to the past (keys and values, for example)


class Backbone(NamedTuple):
    """A network with plastic layers, as pure functions, independent of any rule and memory.

    Plastic layers are named by the paths of their modules, "block_0/fc1" for example. The *past*
    is what later steps read of earlier ones (keys and values of attention; the state of an RNN), a
    sequence of segments, each a stack of entries [P, ...] in any order.

    Attributes:
      init: (key) -> slow parameters.
      shapes: of the plastic layers.
      head: O + A + 1, the width of the head.
      prepare: (slow, ahead, inputs [S, ...], queries [Q, ...] or None, position [], key) -> ([S,
        ...], [Q, ...] or None, entries [S, ...]): all that does not depend on fast weights. Steps
        start at `position`, queries are one after the last; a query depends on the steps, not on
        other queries. `ahead` are the entries of earlier steps, at least the last `window`. Its
        dropout masks are of all S steps at once: they depend on how an episode is cut in pieces.
      forward: (slow, past, prepared [S, ...], position [S], fast, key, independent) -> Forward. A
        step depends on entries of the past with earlier positions and, unless `independent`, on the
        earlier ones of the S steps. `key` seeds dropout; None: no dropout.
      blank: (P, dtype) -> a segment of P entries that hold nothing.
      window: number of past steps that `forward` reads; 0: all; -1: none.
      shard_by: {layer: "outputs", "inputs" or "heads"} of wide layers that devices may share.
      blank_ahead: (P, dtype) -> P entries of `prepare` that hold nothing.
      modulator_weights: (slow) -> slow weights of the modulator, for a metric of their gradient;
        None: there is no such metric.
      sites: {memory site: shape of its memories}.
      first: (slow) -> {memory site: {layer: `TraceMatrix` [H, ...]}}, the memories at the start of
        an episode; None: they start empty.
      site_rules: {memory site: its rule}, for sites whose rule is not that of the network.
      at_once: whether `forward` offers the tokens of all S steps in one call of `fast.associate`.
        Otherwise it is called with S = 1 wherever anything is written.
      local_loss: (slow, `Episode`) -> [], which training adds to the loss of an episode. It trains
        layers that the gradient of the loss does not reach. None: all learn from the loss alone.
      share: given if one device runs this backbone with its part of some layers: `shapes` and
        activities are then those of the parts. None: all layers are whole.
      part: (share) -> the backbone of one such device; None: no layer can be shared in this way.
    """

    init: Callable[[Key], PyTree]
    shapes: dict[str, LayerShape]
    head: int
    prepare: Callable[..., tuple[PyTree, PyTree | None, PyTree]]
    forward: Callable[..., Forward]
    blank: Callable[[int, DType], PyTree]
    window: int
    shard_by: Mapping[str, str] = MappingProxyType({})
    blank_ahead: Callable[[int, DType], PyTree] = lambda slots, dtype: ()
    modulator_weights: Callable[[PyTree], Array] | None = None
    sites: Mapping[str, SiteShape] = MappingProxyType({})
    first: Callable[[PyTree], Any] | None = None
    site_rules: Mapping[str, Rule] = MappingProxyType({})
    at_once: bool = False
    share: Share | None = None
    part: Callable[[Share], Any] | None = None
    local_loss: Callable[[PyTree, Any], Array] | None = None
