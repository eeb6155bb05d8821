"""A network and what it is described by: its parts, its parameters, its state, its trace."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from plasticity.types import (
    Array,
    Backbone,
    DType,
    FastState,
    Key,
    Memory,
    Outputs,
    Plasticity,
    PyTree,
    Rule,
    Write,
)

META_GRADIENTS = ("full", "truncated")

# (writes of a step {layer: Write}, its position []) -> what is written instead
Intervention = Callable[[dict[str, Write], Array], dict[str, Write]]


class Network(NamedTuple):
    """A backbone with plastic layers, the rule that writes them, the memory that holds them.

    meta_gradient: "full" lets the outer gradient flow through every write. "truncated" treats fast
      weights as constants, as in the code published with Chaudhary 2025; alpha, beta, P and the
      modulator then learn nothing.
    matmul_precision: of matrix products; a name in `plasticity.unroll.MATMUL_PRECISIONS`.
    intervention: has the last word on what a step writes; see `plasticity.interventions`.
    """

    backbone: Backbone
    rule: Rule
    memory: Memory
    meta_gradient: str = "full"
    matmul_precision: str = "default"
    intervention: Intervention | None = None


class Parameters(NamedTuple):
    """What the outer loop learns."""

    slow: PyTree
    plasticity: Plasticity


class EpisodeState(NamedTuple):
    """What a step sees of the steps before it."""

    fast: dict[str, FastState]
    past: Sequence[PyTree]  # the backbone's segments


class Entry(NamedTuple):
    """What one step adds to the state."""

    writes: dict[str, Write]
    past: PyTree


class EpisodeTrace(NamedTuple):
    """A whole episode."""

    outputs: Outputs  # [T + Q, ...], queries last
    writes: dict[str, Write]  # {layer: [T, ...]}; empty under a static rule
    fast: dict[str, PyTree]  # {layer: base of the memory after the last write}; or empty


def init_parameters(network: Network, key: Key) -> Parameters:
    """Slow weights, and the rule's own parameters."""
    slow_key, rule_key = jax.random.split(key)
    backbone = network.backbone
    return Parameters(
        backbone.init(slow_key), network.rule.init(rule_key, backbone.shapes, backbone.head)
    )


def float_type(params: Parameters) -> DType:
    """The type of numbers that a network computes in."""
    return jax.tree.leaves(params.slow)[0].dtype
