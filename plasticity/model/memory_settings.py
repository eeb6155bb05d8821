"""Settings of memory layers."""

import dataclasses

import jax

from plasticity.features import FEATURES, NORMS
from plasticity.settings import Settings, setting, size

OUTPUT_GATES = {"none": lambda x: x, "silu": jax.nn.silu, "sigmoid": jax.nn.sigmoid}
KEEPS = ("exponential", "sigmoid", "one")
RATES = ("learned", "one")
MOMENTA = ("learned", "zero")


@dataclasses.dataclass(frozen=True)
class MemoryLayerSettings(Settings):
    """A memory layer around its rule. Defaults: gated DeltaNet, Yang et al. 2024 (2412.06464)."""

    section = "site"
    rule: str = setting("", "rule of the memories, with its default settings; empty: rule.name")
    heads: int = size(4, "memories of a layer; they divide the width")
    key_width: int = size(0, "numbers in a key, before its feature map; 0: width / heads", low=0)
    convolution: int = size(4, "steps of the causal convolution of q, k and v; 0: none", low=0)
    feature: str = setting("silu", "feature map of keys and queries", choices=FEATURES)
    value_feature: str = setting("silu", "the same of values", choices=("none", "silu"))
    value_norm: str = setting("none", "norm of values, after the map", choices=("none", "unit"))
    key_norm: str = setting("unit", "norm of keys and queries, after the map", choices=NORMS)
    rate: str = setting("learned", "rate of the writes; one: always 1", choices=RATES)
    rate_limit: float = setting(
        1.0, "rates are in (0, limit); 2: a delta rule may reflect", above=0, high=2
    )
    keep: str = setting(
        "exponential", "decay: exp(-a softplus), sigmoid^(1/16), or always 1", choices=KEEPS
    )
    momentum: str = setting("learned", "of rules that have one; zero: none", choices=MOMENTA)
    output_norm: bool = setting(True, "root mean square norm of each head's answer")
    output_gate: str = setting("silu", "what gates the answer", choices=OUTPUT_GATES)
    persistent: int = size(0, "learned tokens that attention always sees", low=0)
    segment: int = size(16, "mixer context: steps that attend to each other")
    chunk: int = size(32, "steps at once; 0: step by step", low=0)
