"""Backbones. A backbone is one file here and one line in `BACKBONES`.

It is made by (settings, encoder settings, TaskShape) -> Backbone.
"""

from plasticity.backbone import Backbone
from plasticity.factory import Factory
from plasticity.model.classifier import ClassifierSettings, classifier
from plasticity.model.conv4 import EncoderSettings
from plasticity.model.memory_mixer import MemorySpec
from plasticity.model.memory_settings import MemoryLayerSettings
from plasticity.model.prototypical import PrototypicalSettings, prototypical
from plasticity.model.recurrent import LeakySettings, RecurrentSettings, leaky_rnn, lstm, rnn
from plasticity.model.transformer import TransformerSettings, transformer

BACKBONES: dict[str, Factory[Backbone]] = {
    "transformer": Factory(TransformerSettings, transformer),
    "rnn": Factory(RecurrentSettings, rnn),
    "leaky_rnn": Factory(LeakySettings, leaky_rnn),
    "lstm": Factory(RecurrentSettings, lstm),
    "prototypical": Factory(PrototypicalSettings, prototypical),
    "classifier": Factory(ClassifierSettings, classifier),
}

__all__ = [
    "BACKBONES",
    "ClassifierSettings",
    "EncoderSettings",
    "LeakySettings",
    "MemoryLayerSettings",
    "MemorySpec",
    "PrototypicalSettings",
    "RecurrentSettings",
    "TransformerSettings",
    "classifier",
    "leaky_rnn",
    "lstm",
    "prototypical",
    "rnn",
    "transformer",
]
