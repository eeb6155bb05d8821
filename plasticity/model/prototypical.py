"""Prototypical network (Snell et al. 2017): an encoder, and the nearest class mean of the support.

  answer_c = - || f(query) - mean of f(support of class c) ||^2 / (F temperature)

As a backbone it has no plastic layer. It trains encoders, and it is the baseline of the few-shot
tasks. Departure: the factor 1 / F makes the scale of the answers independent of F. The answers of
support steps are zeros.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from plasticity.backbone import Backbone, FastRead, Forward
from plasticity.model.conv4 import Conv4, EncoderSettings
from plasticity.model.parts import first_inputs
from plasticity.registry import exportable
from plasticity.settings import Settings, setting
from plasticity.steps import join, length
from plasticity.task import Observation, TaskShape
from plasticity.types import Array, DType, Key, Outputs, PyTree


@dataclasses.dataclass(frozen=True)
class PrototypicalSettings(Settings):
    """Settings of a prototypical network; sizes are those of the encoder, `EncoderSettings`."""

    section = "model"
    temperature: float = setting(1.0, "divides the distances", above=0)


class Example(NamedTuple):
    """Embeddings and labels of S inputs; as a segment of the past, of P support steps."""

    embedding: Array  # [S, F]
    label: Array  # [S, N], one-hot; zeros for a query


exportable(Example)


class Embedding(nn.Module):
    """Maps inputs to embeddings and labels: images by Conv-4, features unchanged."""

    encoder: EncoderSettings
    ways: int

    @nn.compact
    def __call__(self, inputs: Array | Observation) -> Example:
        """Maps inputs [S, ...], see the class."""
        if isinstance(inputs, Observation):
            embedding = Conv4(self.encoder, name="encoder")(inputs.image)
            return Example(embedding, inputs.vector[:, : self.ways])
        # Columns [feature (F) | label (N) | 1 for a query], see `plasticity.tasks.few_shot`.
        return Example(inputs[:, : -self.ways - 1], inputs[:, -self.ways - 1 : -1])


def prototypical(
    settings: PrototypicalSettings, encoder: EncoderSettings, task: TaskShape
) -> Backbone:
    """Builds the backbone for a few-shot task with independent queries."""
    module = Embedding(encoder, task.outputs)
    features = encoder.features(task.image) if task.image else task.inputs - task.outputs - 1

    def prepare(
        slow: PyTree, ahead: tuple[()], inputs: PyTree, queries: PyTree | None, *_: Any
    ) -> tuple[Example, Example | None, tuple[()]]:
        examples, steps = module.apply(slow, join(inputs, queries)), length(inputs)
        support = jax.tree.map(lambda a: a[:steps], examples)
        asked = None if queries is None else jax.tree.map(lambda a: a[steps:], examples)
        return support, asked, ahead

    def forward(
        slow: PyTree,
        past: Sequence[Example],
        x: Example,
        position: Array,
        fast: FastRead,
        key: Key | None,
        independent: bool = False,
    ) -> Forward:
        del slow, position, fast, key
        answers = jnp.zeros((len(x.label), task.outputs), x.embedding.dtype)
        if independent:  # a query; a step is only shown
            count = sum(part.label.sum(0) for part in past)
            total = sum(part.label.T @ part.embedding for part in past)
            means = total / jnp.maximum(count, 1)[:, None]
            squares = (x.embedding**2).sum(-1)[:, None] + (means**2).sum(-1)
            distance = squares - 2 * x.embedding @ means.T
            scaled = -distance / (features * settings.temperature)
            # A class without support is as far as the farthest: 0 would be the best score.
            least = jnp.where(count > 0, scaled, 0).min(-1, keepdims=True)
            answers = jnp.where(count > 0, scaled, least)
        modulator = jnp.zeros(len(answers), answers.dtype)
        return Forward(Outputs(answers, modulator, answers[:, :0]), {}, x)

    def init(key: Key) -> PyTree:
        return module.init(key, first_inputs(task))

    def blank(slots: int, dtype: DType) -> Example:
        return Example(jnp.zeros((slots, features), dtype), jnp.zeros((slots, task.outputs), dtype))

    return Backbone(jax.jit(init), {}, task.outputs + 1, prepare, forward, blank, window=0)
