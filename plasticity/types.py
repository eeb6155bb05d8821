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
[] is a scalar array. Floating-point arrays are float32, or float64 if the parameters are.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

from plasticity.registry import exportable

Array = jax.Array
Key = jax.Array
PyTree = Any
DType = Any
Scalar = Array | float


class LayerShape(NamedTuple):
    """Size of one plastic layer."""

    outputs: int  # O
    inputs: int  # I


class Activity(NamedTuple):
    """Quantities of one plastic layer at one step, from which a rule computes its write."""

    pre: Array  # [I]  input of the layer
    post: Array  # [O]  its linear output, slow and fast part together
    activation: Array  # [O]  post after the layer's nonlinearity
    credit: Array  # [O]  d internal loss / d post; zeros if the rule has no internal loss
    recall: Array  # [O]  the fast part of post: w_t pre + b_t

    @property
    def value(self) -> Array:
        """The slow part of post, [O]: what the layer makes of pre without its fast weights."""
        return self.post - self.recall


class Token(NamedTuple):
    """What a memory site offers to a rule at one step."""

    query: Array  # [I]  at which the memory is read
    key: Array  # [I]
    value: Array  # [O]
    rate: Array = 1.0  # type: ignore[assignment]  # [], or [O] if the rule's form says so
    keep: Array = 1.0  # type: ignore[assignment]  # [], or [O] or [I] if the rule's form says so
    gates: dict[str, Array] = {}  # noqa: RUF012  # further inputs, which some rules read


class Form(NamedTuple):
    """The form of a rule's writes. An engine is made for one form, or refuses it.

    keep: "scalar": rate and keep are []; "output": both [O]; "input": keep is [I], rate [];
      "synapse": keep is [O, I], rate [].
    terms: N outer products per write: left [N, O], right [N, I]; 1: left [O], right [I].
    momentum: whether writes have a momentum.
    bias: whether the memory at a site has a plastic bias; a feed-forward site has one by itself.
    settle: what becomes of the trace h [O, I] after every write; None: nothing. Settling once after
      several writes must be settling after each.
    to_weights: the map from the trace h [O, I] to weights [O, I], before alpha; None: identity.
    """

    keep: str = "scalar"
    terms: int = 1
    momentum: bool = False
    bias: bool = False
    settle: Callable[[Array], Array] | None = None
    to_weights: Callable[[Array], Array] | None = None


class Write(NamedTuple):
    """An update of one memory, by one outer product or a sum of N of them.

    The trace h, of which the weights are w = alpha * h (or a map of it, see `Form`), becomes

      h <- keep * h + rate * left right^T

    With momentum, s <- momentum * s + rate * left right^T, h <- keep * h + s, s_0 = 0. A plastic
    bias is written alike, from an input that is 1; a keep per input leaves it as it is.
    """

    left: Array  # [O] or [N, O]
    right: Array  # [I] or [N, I]
    rate: Array  # [] or [O]
    keep: Array  # [], [O], [I] or [O, I]
    momentum: Array | None = None  # []; None: no momentum


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


class Read(Protocol):
    """Reads a memory: `read(x)`, x [I], is w x + b, [O].

    layer: which one, of a memory of several; "": the only one.
    transposed: x is [O], and w^T x, [I], is returned.
    """

    def __call__(self, x: Array, layer: str = "", *, transposed: bool = False) -> Array:
        """See the class."""


class Site(NamedTuple):
    """A rule at a memory site.

    write: (token, read) -> Write. `read` is of the state before the write, undecayed. A rule that
      takes its error at the decayed state says so: keep * read(key), or read(keep * key). A memory
      of several layers, as of a rule that descends the loss of a small network, has one trace for
      each and returns {layer: Write}; `plasticity.rules.credit` gives each layer its credit.
    order: "read_after_write": the answer to a query contains the token's own write;
      "read_before_write": it does not.
    linear: `left` is affine in what `read` returned, output by output, and nothing else depends on
      it. Many steps are then computed at once. Under a form whose keep is not per output, the
      factors of what was read are the same for all outputs.
    frozen: C: `write` reads the state before the first of every C tokens, while keeps and momentum
      act at every token; the last stretch may be shorter. 1: it reads the state before the token.
    reach: (token) -> []: of a frozen rule, the factor with which a token sees what its stretch has
      written; the last token's factor stays. None: 1.
    writes: N: a token holds N keys, values and rates, which are written one after the other.
    prepare: what happens to a token first. It may change the number of outputs.
    layers: (shape for a value and a key) -> {layer: its shape}; "": the layer of a memory of one.
    empty: whether a memory may start at zero; otherwise its first weights are given.
    takes: what the rule reads of a token beside query, key and value: "rate", "keep" and names of
      gates. What else is given is refused, and so is a gate that is missing. None: anything.
    answer: (prepared token, read) -> [O].
    asks: how `answer` reads: "query": once, at `token.query`; "freely".
    """

    write: Callable[[Token, Read], Any]
    order: str = "read_after_write"
    linear: bool = True
    frozen: int = 1
    reach: Callable[[Token], Array] | None = None
    writes: int = 1
    prepare: Callable[[Token], Token] = lambda token: token
    layers: Callable[[LayerShape], dict[str, LayerShape]] = lambda shape: {"": shape}
    empty: bool = True
    takes: tuple[str, ...] | None = None
    answer: Callable[[Token, Read], Array] = lambda token, read: read(token.query)
    asks: str = "query"


class Rule(NamedTuple):
    """A plasticity rule, as pure functions.

    init: (key, {layer: LayerShape}, head) -> theta; head = O + A + 1, the width of the head.
    write: (theta, modulator [], {layer: Activity}) -> {layer: Write}; the clip spans all layers.
      None: the rule has no meaning at a feed-forward site.
    internal_loss: (theta, outputs of one step) -> []. None: `Activity.credit` is zero.
    static: the rule never writes, so all steps of an episode can be computed at once.
    form: of its writes.
    site: the rule at a memory site; None: it has no meaning there.
    """

    init: Callable[[Key, Mapping[str, LayerShape], int], Plasticity]
    write: Callable[[Plasticity, Array, Mapping[str, Activity]], dict[str, Write]] | None
    internal_loss: Callable[[Plasticity, Outputs], Array] | None = None
    static: bool = False
    form: Form = Form()
    site: Site | None = None


class Memory(NamedTuple):
    """A fast-weight memory (an engine) for one layer, as pure functions.

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


exportable(Activity, Write, Synapse, Plasticity, Outputs, FastState, FastWeights)
