"""Recorded episodes of published code, each format replayed through our model."""
