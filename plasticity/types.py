"""The records that every part of the library speaks in.

All code is written for *one episode, without a batch axis*; `jax.vmap` adds episodes.

Axis letters of the project's docstrings; where one means something else, it is said:
  B episodes   T steps of an episode   Q queries   S steps processed at once   P cached past steps
  C steps of a chunk   I inputs of a layer   O outputs of a layer   D model width   H heads
  A auxiliary outputs   N ways   K shots   F features
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

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
    """What one step of the network offers to a rule, for one plastic layer."""

    pre: Array  # [I]  input of the layer
    post: Array  # [O]  its linear output, slow and fast part together
    activation: Array  # [O]  post after the layer's nonlinearity
    credit: Array  # [O]  d internal loss / d post; zeros if the rule has no internal loss
    recall: Array  # [O]  the fast part of post: w_t pre + b_t; for delta rules yet to come


class Write(NamedTuple):
    """What a rule orders for one layer: w <- keep * w + rate * alpha * left right^T.

    A plastic bias follows with the same rate and keep: b <- keep * b + rate * beta * left.
    """

    left: Array  # [O]
    right: Array  # [I]
    rate: Array  # [], or [O] under a rule that is `per_output`
    keep: Array  # the same


class Synapse(NamedTuple):
    """Learned plasticity coefficients of one layer; see `plasticity.synapse`.

    alpha[o, i] = alpha[o, i] * alpha_out[o] * alpha_in[i], an absent factor being one.
    """

    alpha: Array | None  # [O, I]
    alpha_out: Array | None  # [O], or [] when one value serves the layer
    alpha_in: Array | None  # [I]
    beta: Array | None  # [O] or [], None: the bias is not plastic


class Plasticity(NamedTuple):
    """Everything about plasticity that the outer loop learns (theta)."""

    synapses: dict[str, Synapse]
    projection: Array | None  # P of the internal loss, [O + A + 1, O + A + 1] or its diagonal


class Outputs(NamedTuple):
    """What the head of the network emits at one step (leading axes: S or T)."""

    task: Array  # [..., O]  the answer: logits or values
    modulator: Array  # [...]    g_t, gates the rate of the writes
    auxiliary: Array  # [..., A]  free outputs, heard by the internal loss alone


class FastState(NamedTuple):
    """A layer's fast-weight memory, in parts that live differently long.

    A chunk is the stretch of steps between `Memory.open` and `Memory.close`.
    """

    base: PyTree  # fixed during a chunk
    carry: PyTree  # rewritten at every step
    history: PyTree  # one row per step of the chunk, never rewritten


class FastWeights(NamedTuple):
    """A layer's fast weights as plain arrays, for inspection."""

    weight: Array  # [O, I]
    bias: Array  # [O], zeros where the bias is not plastic


class Rule(NamedTuple):
    """A plasticity rule: two pure functions, and a loss if the rule wants credit.

    init(key, shapes, head) -> theta, for layers {name: LayerShape} and `head` = O + A + 1 head
      outputs (the width of the internal loss).
    write(theta, modulator [], {name: Activity}) -> {name: Write}. The rule sees all layers at
      once, because the clip is global.
    internal_loss(theta, outputs) -> []. None: `Activity.credit` is zero.
    static: the rule never writes, so a step needs nothing from the step before it.
    per_output: both `rate` and `keep` of its writes are [O] rather than [].
    """

    init: Callable[[Key, Mapping[str, LayerShape], int], Plasticity]
    write: Callable[[Plasticity, Array, Mapping[str, Activity]], dict[str, Write]]
    internal_loss: Callable[[Plasticity, Outputs], Array] | None = None
    static: bool = False
    per_output: bool = False


class Memory(NamedTuple):
    """A fast-weight memory for one layer, as pure functions.

    init(shape, dtype) -> base of an empty memory.
    open(base, shape, slots, per_output) -> FastState, ready for a chunk of `slots` writes, whose
      `rate` and `keep` are [O] if `per_output`, else [].
    read(state, synapse, x [I]) -> w x + b, [O]. Reads of step t see the writes before t only.
    apply(state, write, slot) -> (carry, row): the carry after the write that is number `slot` [] of
      its chunk, and the row that it adds to the history (see `plasticity.memory.advance`).
    close(state) -> base that holds all writes so far.
    weights(base, synapse) -> FastWeights. Costs O * I; no engine needs it to work.
    chunk: writes per chunk; 0: one chunk for the whole episode.
    append_only: the history's rows are `left` and `right` of the writes, and the carry is small.
    grows: each `close` returns a larger base, so chunks cannot share one compiled program.
    """

    init: Callable[[LayerShape, DType], PyTree]
    open: Callable[[PyTree, LayerShape, int, bool], FastState]
    read: Callable[[FastState, Synapse, Array], Array]
    apply: Callable[[FastState, Write, Array], tuple[PyTree, PyTree]]
    close: Callable[[FastState], PyTree]
    weights: Callable[[PyTree, Synapse], FastWeights]
    chunk: int = 0
    append_only: bool = False
    grows: bool = False


# Called by a plastic layer with its name and inputs [S, I]; answers with the fast part,
# [S, O] or, where there is none, a zero [].
FastRead = Callable[[str, Array], Array]


class Forward(NamedTuple):
    """What a backbone returns for S steps."""

    outputs: Outputs  # [S, ...]
    activities: dict[str, Activity]  # [S, ...]; credit left at zero
    entry: PyTree  # [S, ...], what these steps add to the past (keys and values, say)


class Backbone(NamedTuple):
    """A network with plastic layers, as pure functions. It knows no rule and no memory.

    init(key) -> slow parameters.
    shapes: {name: LayerShape} of the plastic layers. head: O + A + 1.
    prepare(slow, inputs [S, ...], queries [Q, ...] or None, key) -> ([S, ...], [Q, ...] or None):
      all that no fast weight reaches, for all steps of an episode at once. Steps are at positions
      0 to S - 1; queries all at position S, where each sees the steps and no other query.
    forward(slow, past, prepared [S, ...], position [S], fast, key, apart) -> Forward. The S steps
      see the past and, causally, each other, or, if they are `apart`, only the past.
      `past` is a sequence of segments, each a stack of entries [P, ...] in any order; those that
      are blank, or of positions not before the present, are not seen. `key` seeds dropout; None:
      no dropout.
    blank(P, dtype) -> a segment of P entries that hold nothing.
    window: how many past steps `forward` looks at; 0: all; -1: none.
    split: {layer: side} of wide layers that devices may share: by their "outputs", or by their
      "inputs", whose results are then summed over devices. Layers are named by their paths.
    """

    init: Callable[[Key], PyTree]
    shapes: dict[str, LayerShape]
    head: int
    prepare: Callable[[PyTree, PyTree, PyTree | None, Key | None], tuple[PyTree, PyTree | None]]
    forward: Callable[
        [PyTree, Sequence[PyTree], PyTree, Array, FastRead, Key | None, bool], Forward
    ]
    blank: Callable[[int, DType], PyTree]
    window: int
    split: Mapping[str, str] = MappingProxyType({})


class Observation(NamedTuple):
    """Inputs of which a part is an image."""

    image: Array  # [T, H, W, channels]
    vector: Array  # [T, I]


class Episode(NamedTuple):
    """One episode of a task: T steps, then Q queries that do not hear of each other.

    Every query is asked after step T, as if it were the only one. In targets, weights and answers
    queries follow the steps.
    """

    inputs: Array | Observation  # [T, I]
    targets: PyTree  # leading axis T + Q
    weights: Array  # [T + Q], weight of each answer in the outer loss, not all zero
    queries: Array | Observation | None = None  # [Q, I]


class TaskShape(NamedTuple):
    """What a backbone has to know of a task: I, O, T, and (H, W, channels) of images if any.

    reference_images: images [N, H, W, channels] of the training split; all features are centred by
      the mean of theirs.
    """

    inputs: int
    outputs: int
    steps: int
    image: tuple[int, int, int] | None = None
    reference_images: Array | None = None


class Task(NamedTuple):
    """A distribution over episodes, and how answers are judged.

    inputs: I, the width of what is not an image. outputs: O. steps: T.
    sample(key, data) -> Episode, a pure function; `data` is what `data` holds for the split.
    loss(answers [T + Q, O], episode) -> [T + Q], unweighted.
    metrics(answers [T + Q, O], episode) -> {name: []}, of one episode.
    main_metric: the headline metric of a run.
    chance: the headline metric of the best input-independent predictor, if known.
    image: (H, W, channels) if inputs are `Observation`s; reference_images: see `TaskShape`.
    data: {split: arrays} for the splits "train", "validation" and "test"; none: episodes are made
      from the key alone.
    checksum: of the data.
    phases: (event, steps) in order, T steps in all; the first phase is the informative one.
    """

    inputs: int
    outputs: int
    steps: int
    main_metric: str
    chance: float | None
    sample: Callable[[Key, PyTree], Episode]
    loss: Callable[[Array, Episode], Array]
    metrics: Callable[[Array, Episode], dict[str, Array]]
    image: tuple[int, int, int] | None = None
    reference_images: Array | None = None
    data: Mapping[str, PyTree] | None = None
    checksum: str | None = None
    phases: tuple[tuple[str, int], ...] = ()

    @property
    def events(self) -> tuple[str, ...]:
        """What happens at each of the T steps."""
        return tuple(event for event, steps in self.phases for _ in range(steps))

    @property
    def shape(self) -> TaskShape:
        """What a backbone has to know."""
        return TaskShape(self.inputs, self.outputs, self.steps, self.image, self.reference_images)
