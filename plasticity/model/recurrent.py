"""Plastic RNN and LSTM: input layer, recurrent cell and head carry fast weights.

  e = relu(in x),   a = hidden(h) + drive(e)
  rnn:        h <- relu(a)
  leaky_rnn:  h <- h + leak (relu(a) - h),   leak = sigmoid(..) of each unit; 1 / leak is its time
              constant in steps. Both are learned
  lstm:       c <- sigmoid(f) c + sigmoid(i) tanh(g),   h <- sigmoid(o) tanh(c),   a = [i, f, g, o]
  outputs = head h

The state after a step, h or [h, c], is an entry of the past, like the keys and values of attention;
the backbone's window is 1.

Source: Duan et al. 2023 (arXiv 2302.03235). leaky_rnn: Khajehabdollahi et al. 2023 (arXiv
2309.12927). Departures from it: relu, not leaky relu; an input layer; leaks by a sigmoid.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import Backbone, FastRead, Forward
from plasticity.model.conv4 import EncoderSettings, ImageEmbedding
from plasticity.model.head import Head, modulator_column
from plasticity.model.linear import table, uniform
from plasticity.model.parts import first_inputs, initialized, plastic_parts
from plasticity.model.plastic_dense import PlasticDense, activated
from plasticity.registry import exportable
from plasticity.settings import Settings, setting, size
from plasticity.steps import EMPTY, join, length, no_fast_weights
from plasticity.task import Observation, TaskShape
from plasticity.types import Activity, Array, DType, Key, Outputs, PyTree

PARTS = ("input", "recurrent", "head")


@dataclasses.dataclass(frozen=True)
class RecurrentSettings(Settings):
    """Sizes and variants. Defaults: Duan et al. 2023."""

    section = "model"
    hidden: int = size(128, "units of the cell")
    auxiliary: int = size(4, "outputs that only the internal loss reads", low=0)
    plastic: str = setting("input,recurrent,head", "parts with fast weights, joined by commas")

    def check(self) -> None:
        """Raises ValueError if `plastic` names no part, an unknown one, or one twice."""
        plastic_parts(self.plastic, PARTS)


@dataclasses.dataclass(frozen=True)
class LeakySettings(RecurrentSettings):
    """Settings of a leaky RNN."""

    leak: float = setting(
        0.5, "share of a unit that a step replaces, before training", above=0, below=1
    )


class Cell(NamedTuple):
    """A kind of recurrence. H is the hidden width here.

    Attributes:
      gates, states: widths of `a` and of the state, in units of H.
      scale: the initial weights of the recurrence are U(-scale / sqrt(O), scale / sqrt(O)).
      step: (a [S, gates H], state [S, states H]) -> (state, h [S, H], activation [S, gates H]).
    """

    gates: int
    states: int
    scale: float
    step: Callable[[Array, Array], tuple[Array, Array, Array]]


def _rnn_step(a: Array, state: Array) -> tuple[Array, Array, Array]:
    del state
    hidden = nn.relu(a)
    return hidden, hidden, hidden


def _lstm_step(a: Array, state: Array) -> tuple[Array, Array, Array]:
    i, f, g, o = jnp.split(a, 4, axis=-1)
    gates = [nn.sigmoid(i), nn.sigmoid(f), jnp.tanh(g), nn.sigmoid(o)]
    cell = gates[1] * jnp.split(state, 2, axis=-1)[1] + gates[0] * gates[2]
    hidden = gates[3] * jnp.tanh(cell)
    return jnp.concatenate([hidden, cell], -1), hidden, jnp.concatenate(gates, -1)


RNN = Cell(gates=1, states=1, scale=1.0, step=_rnn_step)
LSTM = Cell(gates=4, states=2, scale=2.0, step=_lstm_step)


class State(NamedTuple):
    """States after P steps: a segment of the past, or an addition to it."""

    value: Array  # [P, states * H]
    position: Array  # [P] int32, EMPTY for a blank entry


exportable(State)


class Recurrent(nn.Module):
    """One step, for S independent states."""

    settings: RecurrentSettings
    encoder_settings: EncoderSettings
    cell: Cell
    task: TaskShape  # without reference images

    def setup(self) -> None:
        """Creates the parts. Their names are names of parameters and of plastic layers."""
        s, cell, task = self.settings, self.cell, self.task
        parts = plastic_parts(s.plastic, PARTS)

        def dense(part: str, features: int, scale: float = 1.0) -> PlasticDense:
            init = uniform(scale * features**-0.5)
            return PlasticDense(features, part in parts, init, init)

        if isinstance(s, LeakySettings):
            start = math.log(s.leak / (1 - s.leak))
            self.leak = self.param("leak", nn.initializers.constant(start), (s.hidden,))
        if task.image is not None:
            self.see = ImageEmbedding(self.encoder_settings)
        if task.tokens:
            self.embed = table(task.inputs, s.hidden)
        self.input = dense("input", s.hidden)
        self.hidden = dense("recurrent", cell.gates * s.hidden, cell.scale)
        self.drive = dense("recurrent", cell.gates * s.hidden, cell.scale)
        columns = task.outputs + 1 + s.auxiliary
        self.head = Head(task.outputs, s.auxiliary, "head" in parts, uniform(columns**-0.5))

    def prepare(self, inputs: Array | Observation, reference_images: Array | None) -> Array:
        """Returns inputs as vectors [S, I], the part that does not depend on fast weights."""
        if isinstance(inputs, Observation):
            return self.see(inputs, reference_images)
        return self.embed(inputs) if self.task.tokens else inputs

    def __call__(
        self, x: Array, state: Array, fast: FastRead
    ) -> tuple[Outputs, dict[str, Activity], Array]:
        """Maps x [S, I], state [S, states H] to outputs [S, ...], activities and the next state."""
        post, activities = self.input(x, fast)
        embedded = nn.relu(post)
        activities = activated(activities, embedded)
        recurrent, active_hidden = self.hidden(state[:, : self.settings.hidden], fast)
        driven, active_drive = self.drive(embedded, fast)
        before = state
        state, hidden, activation = self.cell.step(recurrent + driven, state)
        if isinstance(self.settings, LeakySettings):
            state = hidden = activation = before + nn.sigmoid(self.leak) * (hidden - before)
        activities |= activated(active_hidden | active_drive, activation)
        outputs, active_head = self.head(hidden, fast)
        return outputs, activities | active_head, state


def recurrent(
    cell: Cell, settings: RecurrentSettings, encoder: EncoderSettings, task: TaskShape
) -> Backbone:
    """Builds the backbone for a task; `encoder` embeds images, a table embeds tokens."""
    module = Recurrent(settings, encoder, cell, task._replace(reference_images=None))
    apply: Any = module.apply
    width = cell.states * settings.hidden

    def blank(slots: int, dtype: DType) -> State:
        return State(jnp.zeros((slots, width), dtype), jnp.full((slots,), EMPTY, jnp.int32))

    def prepare(
        slow: PyTree, ahead: tuple[()], inputs: PyTree, queries: PyTree | None, *_: Any
    ) -> tuple[Array, Array | None, tuple[()]]:
        x = apply(slow, join(inputs, queries), task.reference_images, method="prepare")
        steps = length(inputs)
        return x[:steps], None if queries is None else x[steps:], ahead

    def forward(
        slow: PyTree,
        past: Sequence[State],
        x: Array,
        position: Array,
        fast: FastRead,
        key: Key | None,
        independent: bool = False,
    ) -> Forward:
        del key  # no dropout
        before = _state_at(past, position[0] - 1, width, x.dtype)
        if independent or len(x) == 1:
            states = jnp.broadcast_to(before, (len(x), width))
            outputs, activities, after = apply(slow, x, states, fast)
            return Forward(outputs, activities, State(after, position))

        def body(state: Array, x: Array) -> tuple[Array, Any]:
            result = jax.tree.map(lambda a: a[0], apply(slow, x[None], state[None], fast))
            return result[-1], result

        _, (outputs, activities, after) = jax.lax.scan(body, before, x)
        return Forward(outputs, activities, State(after, position))

    def first_step(module: Recurrent) -> dict[str, Activity]:
        """One step without fast weights."""
        x = module.prepare(first_inputs(task), task.reference_images)
        return module(x, jnp.zeros((1, width)), no_fast_weights)[1]

    init, shapes, _ = initialized(module, first_step)
    head = task.outputs + 1 + settings.auxiliary
    modulator_weights = partial(modulator_column, auxiliary=settings.auxiliary)
    parts = (init, shapes, head, prepare, forward, blank)
    return Backbone(*parts, window=1, modulator_weights=modulator_weights)


def _state_at(past: Sequence[State], position: Array, width: int, dtype: DType) -> Array:
    """The state [width] after the step at `position`; zeros before the first step."""
    state = jnp.zeros((width,), dtype)
    for segment in past:
        here = (segment.position == position) & (segment.position != EMPTY)
        state = state + jnp.where(here[:, None], segment.value, 0).sum(0)
    return state


rnn = partial(recurrent, RNN)
leaky_rnn = partial(recurrent, RNN)
lstm = partial(recurrent, LSTM)
