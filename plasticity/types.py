"""The records that every part of the library speaks in.

All code is written for *one episode, without a batch axis*; `jax.vmap` adds episodes.

Axis letters, used in every docstring of the project:
  B episodes   T steps of an episode   S steps processed at once   P cached past steps
  I inputs of a layer   O outputs of a layer   D model width   H heads   A auxiliary outputs
"""

from collections.abc import Callable, Mapping
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
    recall: Array  # [O]  the fast part of post: w_t pre + b_t


class Write(NamedTuple):
    """What a rule orders for one layer: w <- keep * w + rate * alpha * left right^T.

    A plastic bias follows with the same rate and keep: b <- keep * b + rate * beta * left.
    """

    left: Array  # [O]
    right: Array  # [I]
    rate: Array  # [] or [O]
    keep: Array  # [] or [O]


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
    projection: Array | None  # P of the internal loss, [O + A + 1, O + A + 1]


class Outputs(NamedTuple):
    """What the head of the network emits at one step (leading axes: S or T)."""

    task: Array  # [..., O]  the answer: logits or values
    modulator: Array  # [...]    g_t, gates the rate of the writes
    auxiliary: Array  # [..., A]  free outputs, heard by the internal loss alone


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
    """

    init: Callable[[Key, Mapping[str, LayerShape], int], Plasticity]
    write: Callable[[Plasticity, Array, Mapping[str, Activity]], dict[str, Write]]
    internal_loss: Callable[[Plasticity, Outputs], Array] | None = None
    static: bool = False


class Memory(NamedTuple):
    """A fast-weight memory for one layer: three pure functions, and a view for inspection.

    init(shape, steps, dtype) -> state of an empty memory that will take `steps` writes.
    read(state, synapse, x [I]) -> w x + b, [O].
    apply(state, write) -> state. Reads of step t see the writes of steps < t only.
    weights(state, synapse) -> FastWeights. Costs O * I; no engine needs it to work.
    """

    init: Callable[[LayerShape, int, DType], PyTree]
    read: Callable[[PyTree, Synapse, Array], Array]
    apply: Callable[[PyTree, Write], PyTree]
    weights: Callable[[PyTree, Synapse], FastWeights]


# Called by a plastic layer with its name and inputs [S, I]; answers with the fast part,
# [S, O] or, where there is none, a zero [].
FastRead = Callable[[str, Array], Array]


class Forward(NamedTuple):
    """What a backbone returns for S steps."""

    outputs: Outputs  # [S, ...]
    activities: dict[str, Activity]  # [S, ...]; credit left at zero
    entry: PyTree  # what these steps add to the backbone's own past (keys and values, say)


class Backbone(NamedTuple):
    """A network with plastic layers, as pure functions. It knows no rule and no memory.

    init(key) -> slow parameters.
    shapes: {name: LayerShape} of the plastic layers. head: O + A + 1.
    start(steps, dtype) -> the empty past of an episode of `steps` steps.
    forward(slow, past, x [S, I], position [S], fast, key) -> Forward. The S steps see the past
      and, causally, each other. `key` seeds dropout; None: no dropout.
    extend(past, entry, position [S]) -> past.
    """

    init: Callable[[Key], PyTree]
    shapes: dict[str, LayerShape]
    head: int
    start: Callable[[int, DType], PyTree]
    forward: Callable[[PyTree, PyTree, Array, Array, FastRead, Key | None], Forward]
    extend: Callable[[PyTree, PyTree, Array], PyTree]


class Episode(NamedTuple):
    """One episode of a task."""

    inputs: Array  # [T, I]
    targets: PyTree  # leading axis T
    weights: Array  # [T], weight of each step in the outer loss, not all zero


class Task(NamedTuple):
    """A distribution over episodes, and how answers are judged.

    sample(key) -> Episode, a pure function of the key.
    loss(task outputs [T, O], episode) -> [T], unweighted.
    metrics(task outputs [T, O], episode) -> {name: []}, of one episode.
    """

    inputs: int
    outputs: int
    steps: int  # T
    main_metric: str
    sample: Callable[[Key], Episode]
    loss: Callable[[Array, Episode], Array]
    metrics: Callable[[Array, Episode], dict[str, Array]]
