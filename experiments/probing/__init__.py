"""Probes of trained networks: interventions, and linear decoding of their fast weights."""
