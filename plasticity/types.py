"""The vocabulary of the library: axis letters, and the records that its parts exchange.

All code is written for *one episode, without a batch axis*; `jax.vmap` adds episodes. A step t:
  1. The `Backbone` reads input x_t. Each of its plastic layers adds the fast part w_t pre + b_t,
     which its `Memory` computes, to its slow output.
  2. The head of the backbone emits `Outputs`: the answer y_t and the modulator g_t.
  3. The `Rule` turns g_t and the `Activity` of every plastic layer into one `Write` per layer.
  4. Each memory applies its write, which gives w_{t+1}. Fast weights start at w_0 = 0.
Between episodes, the gradient of the outer loss changes slow weights and `Plasticity` (theta).

A memory is written and read at a *site*. The above is the feed-forward site: the key is the layer's
input, and the head of the network decides how much is written. At a *memory site* key, query, value
and gates are projections of the stream (`Token`); nothing there depends on the head, so that many
steps can be computed at once (`plasticity.associate`). One rule serves both: `Rule.write` is for
feed-forward sites, `Rule.site` for memory sites, and both return a `Write`.

Axis letters, used in all docstrings; exceptions are stated where they occur:
  B episodes   T steps of an episode   Q queries   S steps processed at once   P cached past steps
  C steps of a chunk   I inputs of a layer   O outputs of a layer   D model width   H heads
  A auxiliary outputs   N ways   K shots   F features
[] is a scalar array. A network computes in the dtype of its slow weights, and its fast weights have
at least float32 (`plasticity.network.fast_type`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from plasticity.registry import exportable
from plasticity.site import KEEP as KEEP
from plasticity.site import RATE as RATE
from plasticity.site import Array as Array
from plasticity.site import Form as Form
from plasticity.site import Gate as Gate
from plasticity.site import LayerShape as LayerShape
from plasticity.site import Read as Read
from plasticity.site import Scalar as Scalar
from plasticity.site import Site as Site
from plasticity.site import Token as Token
from plasticity.site import Write as Write

Key = jax.Array
PyTree = Any
DType = Any


class SiteShape(NamedTuple):
    """Size of one memory site."""

    heads: int  # H
    layers: dict[str, LayerShape]  # of the memory of one head; "": its only layer


class Activity(NamedTuple):
    """Quantities of one plastic layer at one step, from which a rule computes its write."""

    pre: Array  # [I]  input of the layer
    post: Array  # [O]  its linear output, slow and fast part together
    activation: Array  # [O]  post after the layer's nonlinearity
    credit: Array  # [O]  d internal loss / d post; zeros if the rule has no internal loss
    recall: Array  # [O]  the fast part of post: w_t pre + b_t

    @property
    def value(self) -> Array:
        """The slow part of post [O], which the layer makes of pre without its fast weights."""
        return self.post - self.recall


class Synapse(NamedTuple):
    """Learned plasticity coefficients of one layer; see `plasticity.synapse`.

    Synapse (o, i) has the coefficient alpha[o, i] * alpha_out[o] * alpha_in[i]; None counts as 1.
    """

    alpha: Array | None = None  # [O, I]
    alpha_out: Array | None = None  # [O], or [] for one value per layer
    alpha_in: Array | None = None  # [I]
    beta: Array | None = None  # [O] or []; None: the bias is not plastic


class Plasticity(NamedTuple):
    """theta: all parameters of plasticity that the outer loop learns."""

    synapses: dict[str, Synapse]  # {layer: coefficients}
    projection: Array | None = (
        None  # P of the internal loss, [O + A + 1, O + A + 1] or its diagonal
    )
    emitters: PyTree = None  # {layer: its matrices}, of the rule `synthetic`


class Outputs(NamedTuple):
    """Output of the network's head; leading axes: none for one step, else S, T or T + Q."""

    task: Array  # [..., O]  the answer: logits or values
    modulator: Array  # [...]  g_t, which gates the rate of the writes
    auxiliary: Array  # [..., A]  free outputs, which enter the internal loss only


class FastState(NamedTuple):
    """Fast-weight memory of one layer, in three parts with different lifetimes.

    A chunk is a stretch of steps from `Memory.open` to `Memory.close`. Engine `chunked`: base is
    the matrix at its start, history holds left and right of its writes, carry their coefficients.
    """

    base: PyTree  # constant during a chunk
    carry: PyTree  # rewritten at every step
    history: PyTree  # one row per step of the chunk; a row is written once


class FastWeights(NamedTuple):
    """Fast weights of one layer as plain arrays, for inspection."""

    weight: Array  # [O, I]
    bias: Array  # [O], zeros if the bias is not plastic


class Rule(NamedTuple):
    """A plasticity rule, as pure functions.

    Attributes:
      init: (key, {layer: LayerShape}, head) -> theta; head = O + A + 1, the width of the head.
      write: (theta, modulator [], {layer: Activity}) -> {layer: Write}; the clip spans all layers.
        None: the rule has no meaning at a feed-forward site.
      internal_loss: (theta, outputs of one step) -> []. None: `Activity.credit` is zero.
      static: the rule never writes, so all steps of an episode can be computed at once.
      form: of its writes.
      site: the rule at a memory site; None: it has no meaning there.
      auxiliary: (theta, {layer: Activity}) -> [], a loss of one step; `Learner` adds its mean over
        steps to the outer loss. None: the outer loss alone trains theta.
    """

    init: Callable[[Key, Mapping[str, LayerShape], int], Plasticity]
    write: Callable[[Plasticity, Array, Mapping[str, Activity]], dict[str, Write]] | None
    internal_loss: Callable[[Plasticity, Outputs], Array] | None = None
    static: bool = False
    form: Form = Form()
    site: Site | None = None
    auxiliary: Callable[[Plasticity, Mapping[str, Activity]], Array] | None = None


class Memory(NamedTuple):
    """A fast-weight memory (an engine) for one layer, as pure functions.

    Attributes:
      init: (shape, dtype) -> base of an empty memory, w = 0.
      open: (base, shape, slots) -> FastState; `slots` is the number of writes to come.
      read: (state, synapse, x [I]) -> w x + b, [O]. A read at step t uses the writes before t.
      apply: (state, write, slot []) -> (carry, row): the carry after write number `slot` of the
        chunk, and the row that it adds to the history (see `plasticity.memory.advance`).
      close: (state) -> base that contains all writes so far.
      weights: (base, synapse) -> FastWeights. It costs O * I; training does not need it.
      form: of the writes that it takes.
      chunk: writes per chunk; 0: one chunk for the whole episode.
      append_only: the history's rows are `left` and `right` of the writes, and the carry is small.
      grows: each `close` returns a larger base, so chunks cannot share one compiled program.
    """

    init: Callable[[LayerShape, DType], PyTree]
    open: Callable[[PyTree, LayerShape, int], FastState]
    read: Callable[[FastState, Synapse, Array], Array]
    apply: Callable[[FastState, Write, Array], tuple[PyTree, PyTree]]
    close: Callable[[FastState], PyTree]
    weights: Callable[[PyTree, Synapse], FastWeights]
    form: Form = Form()
    chunk: int = 0
    append_only: bool = False
    grows: bool = False


exportable(Activity, Synapse, Plasticity, Outputs, FastState, FastWeights)
