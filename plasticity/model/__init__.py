"""Backbones. A backbone is one file here and one line in `BACKBONES`.

`BACKBONES`: {model.name: (factory, class of its settings)}, where
factory(settings, encoder settings, TaskShape) -> Backbone.
"""

from plasticity.model.conv4 import EncoderSettings
from plasticity.model.prototypical import PrototypicalSettings, prototypical
from plasticity.model.recurrent import RecurrentSettings, lstm, rnn
from plasticity.model.transformer import TransformerSettings, transformer

BACKBONES = {
    "transformer": (transformer, TransformerSettings),
    "rnn": (rnn, RecurrentSettings),
    "lstm": (lstm, RecurrentSettings),
    "prototypical": (prototypical, PrototypicalSettings),
}

__all__ = [
    "BACKBONES",
    "EncoderSettings",
    "PrototypicalSettings",
    "RecurrentSettings",
    "TransformerSettings",
    "lstm",
    "prototypical",
    "rnn",
    "transformer",
]
