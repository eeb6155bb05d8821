"""Backbones. One is a file here and a line in `BACKBONES`: (factory, settings).

factory(settings, encoder settings, task) -> Backbone.
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
