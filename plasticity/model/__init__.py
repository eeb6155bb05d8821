"""Backbones. One is a file here and a line in `BACKBONES`: (factory, settings).

factory(settings, encoder settings, task) -> Backbone.
"""

from plasticity.model.conv4 import EncoderSettings
from plasticity.model.prototypical import PrototypicalSettings, prototypical
from plasticity.model.transformer import TransformerSettings, transformer

BACKBONES = {
    "transformer": (transformer, TransformerSettings),
    "prototypical": (prototypical, PrototypicalSettings),
}

__all__ = [
    "BACKBONES",
    "EncoderSettings",
    "PrototypicalSettings",
    "TransformerSettings",
    "prototypical",
    "transformer",
]
