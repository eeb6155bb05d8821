"""Backbones. One is a file here and a line in `BACKBONES`."""

from plasticity.model.transformer import TransformerSettings, transformer

BACKBONES = {"transformer": (transformer, TransformerSettings)}
