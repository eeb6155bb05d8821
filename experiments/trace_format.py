"""Golden traces of the published Transformer, as described in tests/golden/README.md.

Weights of linear maps are stored as (out, in); ours, but for alpha, as (in, out).
"""

import dataclasses
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.validate import ConfigError
from plasticity.network import Parameters
from plasticity.rules import RULES
from plasticity.types import Plasticity, Synapse

# (trace name, path of ours) within a block; a trailing .T marks a transposed matrix.
_BLOCK = {
    "ln1.weight": "attention_norm/scale",
    "ln1.bias": "attention_norm/bias",
    "self_attn.in_proj_weight": "attention/query_key_value/kernel.T",
    "self_attn.in_proj_bias": "attention/query_key_value/bias",
    "self_attn.out_proj.weight": "attention/out/kernel.T",
    "self_attn.out_proj.bias": "attention/out/bias",
    "ln2.weight": "feed_forward_norm/scale",
    "ln2.bias": "feed_forward_norm/bias",
    "feed_forward.fc1.weight": "fc1/slow/kernel.T",
    "feed_forward.fc1.bias": "fc1/slow/bias",
    "feed_forward.fc2.weight": "fc2/slow/kernel.T",
    "feed_forward.fc2.bias": "fc2/slow/bias",
}
_ENDS = {
    "input_proj.weight": "embed/kernel.T",
    "input_proj.bias": "embed/bias",
    "final_ln.weight": "final_norm/scale",
    "final_ln.bias": "final_norm/bias",
    "head.weight": "head/columns/kernel.T",
    "head.bias": "head/columns/bias",
}
_PLASTIC = ("fc1", "fc2")
_REQUIRED = ("input", "target", "rule", "task", "eta0", "max_norm", "num_heads", "num_layers")


@dataclasses.dataclass(frozen=True)
class GoldenTrace:
    """One recorded episode."""

    arrays: Mapping[str, np.ndarray]

    @classmethod
    def load(cls, path: str) -> "GoldenTrace":
        """Reads a .npz file.

        Raises:
          ConfigError: the file is missing, damaged, or of another format.
        """
        try:
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ConfigError(f"--trace={path} cannot be read as a .npz file: {error}") from error
        missing = [name for name in _REQUIRED if name not in arrays]
        if missing or "param/input_proj.weight" not in arrays:
            raise ConfigError(
                f"--trace={pathlib.Path(path).name} is not a trace of the Transformer "
                f"(chaudhary2025_*): {', '.join(missing) or 'param/input_proj.weight'} is missing"
            )
        trace = cls(arrays)
        if trace.rule not in RULES:
            raise ConfigError(f"--trace: rule={trace.rule!r} is not one of {sorted(RULES)}")
        return trace

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def rule(self) -> str:
        """Name of the rule."""
        return str(self["rule"])

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return int(self["num_layers"])

    def named(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays below `prefix/`, by the rest of their name."""
        return {
            name.removeprefix(f"{prefix}/"): array
            for name, array in self.arrays.items()
            if name.startswith(f"{prefix}/")
        }

    def parameters(self, dtype: Any) -> Parameters:
        """The recorded weights as parameters of our Transformer and rule."""
        arrays = {n: jnp.asarray(a, dtype) for n, a in self.named("param").items()}
        slow: dict[str, Any] = {}
        for name, path in _slow_names(self.layers):
            array = arrays[name].T if path.endswith(".T") else arrays[name]
            *parents, leaf = path.removesuffix(".T").split("/")
            node = slow
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = array
        synapses = {
            layer: Synapse(arrays[f"{name}.alpha"], None, None, arrays[f"{name}.beta"])
            for name, layer in plastic_layers(self.layers)
        }
        projection = arrays.get("internal_proj.weight")
        return Parameters({"params": slow}, Plasticity(synapses, projection))


def trace_names(params: Parameters, layers: int) -> dict[str, Any]:
    """Parameters, or gradients of them, under the names and in the layout of a trace."""
    named = {}
    for name, path in _slow_names(layers):
        node = params.slow["params"]
        for part in path.removesuffix(".T").split("/"):
            node = node[part]
        named[name] = node.T if path.endswith(".T") else node
    for name, layer in plastic_layers(layers):
        synapse = params.plasticity.synapses[layer]
        named |= {f"{name}.alpha": synapse.alpha, f"{name}.beta": synapse.beta}
    if params.plasticity.projection is not None:
        named["internal_proj.weight"] = params.plasticity.projection
    return named


def plastic_layers(layers: int) -> Iterator[tuple[str, str]]:
    """(trace name, our name) of every plastic layer."""
    for i in range(layers):
        for fc in _PLASTIC:
            yield f"blocks.{i}.feed_forward.{fc}", f"block_{i}/{fc}"


def _slow_names(layers: int) -> Iterator[tuple[str, str]]:
    yield from _ENDS.items()
    for i in range(layers):
        for name, path in _BLOCK.items():
            yield f"blocks.{i}.{name}", f"block_{i}/{path}"
