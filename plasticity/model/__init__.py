"""Backbones. A backbone is one file here and one line in `BACKBONES`.

It is made by (settings, encoder settings, TaskShape) -> Backbone.
"""

from plasticity.backbone import Backbone
from plasticity.factory import Factory
from plasticity.model.conv4 import EncoderSettings
from plasticity.model.memory_mixer import MemorySpec
from plasticity.model.memory_settings import MemoryLayerSettings
from plasticity.model.prototypical import PrototypicalSettings, prototypical
from plasticity.model.recurrent import RecurrentSettings, lstm, rnn
from plasticity.model.transformer import TransformerSettings, transformer

BACKBONES: dict[str, Factory[Backbone]] = {
    "transformer": Factory(TransformerSettings, transformer),
    "rnn": Factory(RecurrentSettings, rnn),
    "lstm": Factory(RecurrentSettings, lstm),
    "prototypical": Factory(PrototypicalSettings, prototypical),
}

__all__ = [
    "BACKBONES",
    "EncoderSettings",
    "MemoryLayerSettings",
    "MemorySpec",
    "PrototypicalSettings",
    "RecurrentSettings",
    "TransformerSettings",
    "lstm",
    "prototypical",
    "rnn",
    "transformer",
]
