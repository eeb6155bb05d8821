"""Prototypical network (Snell et al. 2017): an encoder, and the nearest mean of the support.

  answer_c = - || f(query) - mean of f(support of class c) ||^2 / F

As a backbone it has no plastic layer: it trains encoders, and is the reference line of the
few-shot tasks. The mean over the F features instead of their sum keeps the scale of the answers
independent of F. Steps of the support have no answer: zeros.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.model.conv4 import Conv4, EncoderSettings
from plasticity.model.parts import first_inputs
from plasticity.settings import Settings, setting
from plasticity.steps import join, length
from plasticity.types import (
    Array,
    Backbone,
    DType,
    FastRead,
    Forward,
    Key,
    Observation,
    Outputs,
    PyTree,
    TaskShape,
)


@dataclasses.dataclass(frozen=True)
class PrototypicalSettings(Settings):
    """The temperature; all else is in the encoder."""

    section = "model"
    temperature: float = setting(1.0, "divides the distances", above=0)


class Example(NamedTuple):
    """Support images, as far as prototypes care."""

    embedding: Array  # [S, F]
    label: Array  # [S, N], one-hot; zeros for a query


class Embedding(nn.Module):
    """Inputs -> embeddings and labels: images through Conv-4, features as they are."""

    encoder: EncoderSettings
    ways: int

    @nn.compact
    def __call__(self, inputs: Array | Observation) -> Example:
        """See the class."""
        if isinstance(inputs, Observation):
            seen = Conv4(self.encoder, name="encoder")(inputs.image)
            return Example(seen, inputs.vector[:, : self.ways])
        return Example(inputs[:, : -self.ways - 1], inputs[:, -self.ways - 1 : -1])


def prototypical(
    settings: PrototypicalSettings, encoder: EncoderSettings, task: TaskShape
) -> Backbone:
    """The backbone for a few-shot task whose queries are independent."""
    module = Embedding(encoder, task.outputs)
    features = encoder.features(task.image) if task.image else task.inputs - task.outputs - 1

    def prepare(
        slow: PyTree, inputs: PyTree, queries: PyTree | None, key: Key | None
    ) -> tuple[Example, Example | None]:
        del key  # no dropout
        examples, steps = module.apply(slow, join(inputs, queries)), length(inputs)
        shown = jax.tree.map(lambda a: a[:steps], examples)
        return shown, None if queries is None else jax.tree.map(lambda a: a[steps:], examples)

    def forward(
        slow: PyTree,
        past: Sequence[Example],
        x: Example,
        position: Array,
        fast: FastRead,
        key: Key | None,
        apart: bool = False,
    ) -> Forward:
        del slow, position, fast, key, apart
        answers = jnp.zeros((len(x.label), task.outputs), x.embedding.dtype)
        if past:
            count = sum(part.label.sum(0) for part in past)
            total = sum(part.label.T @ part.embedding for part in past)
            means = total / jnp.maximum(count, 1)[:, None]
            squares = (x.embedding**2).sum(-1)[:, None] + (means**2).sum(-1)
            distance = squares - 2 * x.embedding @ means.T
            known = -distance / (features * settings.temperature)
            answers = jnp.where(count > 0, known, answers)
        nothing = jnp.zeros(len(answers), answers.dtype)
        return Forward(Outputs(answers, nothing, answers[:, :0]), {}, x)

    def init(key: Key) -> PyTree:
        return module.init(key, first_inputs(task))

    def blank(slots: int, dtype: DType) -> Example:
        return Example(jnp.zeros((slots, features), dtype), jnp.zeros((slots, task.outputs), dtype))

    return Backbone(jax.jit(init), {}, task.outputs + 1, prepare, forward, blank, window=0)
