"""Traces of the published Transformer (Chaudhary 2025): `chaudhary2025_*` of tests/golden.

One episode, with the truncated meta-gradient. Weights of linear maps are stored as (out, in); ours,
but for alpha, as (in, out).
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.traces.recorded import GoldenTrace
from plasticity.memory import ENGINES, replay
from plasticity.model import EncoderSettings, TransformerSettings, transformer
from plasticity.network import EpisodeTrace, Network, Parameters
from plasticity.rules import RULES, RuleSettings
from plasticity.synapse import scaled_matrix
from plasticity.types import Plasticity, Synapse, TaskShape
from plasticity.unroll import run_episode

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
    "feed_forward.fc1.weight": "fc1/kernel.T",
    "feed_forward.fc1.bias": "fc1/bias",
    "feed_forward.fc2.weight": "fc2/kernel.T",
    "feed_forward.fc2.bias": "fc2/bias",
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


@dataclasses.dataclass(frozen=True)
class TransformerTrace(GoldenTrace):
    """See the module."""

    required = (
        *("input", "target", "rule", "task", "eta0", "max_norm", "num_heads", "num_layers"),
        *("aux_dim", "param/input_proj.weight"),
    )

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return int(self["num_layers"])

    def network(self, engine: str, chunk: int) -> Network:
        """The Transformer, with the truncated meta-gradient of the published code."""
        width = self["param/input_proj.weight"].shape[0]
        settings = TransformerSettings(
            layers=self.layers,
            heads=int(self["num_heads"]),
            width=width,
            feed_forward=self["param/blocks.0.feed_forward.fc1.weight"].shape[0],
            auxiliary=int(self["aux_dim"]),
            dropout=0.0,
        )
        steps, inputs = self["input"].shape
        outputs = self["trace/logits"].shape[-1]
        rule = RuleSettings(eta0=float(self["eta0"]), max_norm=float(self["max_norm"]))
        return Network(
            backbone=transformer(settings, EncoderSettings(), TaskShape(inputs, outputs, steps)),
            # Static rules too are replayed step by step, as they were recorded.
            rule=RULES[self.rule](rule)._replace(static=False),
            memory=ENGINES[engine](chunk),
            meta_gradient="truncated",
        )

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

    def names(self, params: Parameters) -> dict[str, Any]:
        """See the base class."""
        named = {}
        for name, path in _slow_names(self.layers):
            node = params.slow["params"]
            for part in path.removesuffix(".T").split("/"):
                node = node[part]
            named[name] = node.T if path.endswith(".T") else node
        for name, layer in plastic_layers(self.layers):
            synapse = params.plasticity.synapses[layer]
            named |= {f"{name}.alpha": synapse.alpha, f"{name}.beta": synapse.beta}
        if params.plasticity.projection is not None:
            named["internal_proj.weight"] = params.plasticity.projection
        return named

    def replay(self, network: Network, params: Parameters) -> tuple[jax.Array, dict[str, Any]]:
        """See the base class."""
        dtype = jax.tree.leaves(params)[0].dtype
        episode = run_episode(network, params, jnp.asarray(self["input"], dtype))
        loss = self._loss(episode.outputs.task, dtype)
        quantities = {
            "trace/logits": episode.outputs.task,
            "trace/tilde_eta": episode.outputs.modulator,
            "trace/aux": episode.outputs.auxiliary,
            "trace/eta": next(iter(episode.writes.values())).rate,
            "trace/fast_weight_sq_norm": _squared_norms(network, params, episode),
            "loss_sum": loss,
        }
        for name, layer in plastic_layers(self.layers):
            fast = network.memory.weights(episode.fast[layer], params.plasticity.synapses[layer])
            short = name.replace(".feed_forward", "")
            quantities |= {f"fast/{short}.w": fast.weight, f"fast/{short}.b": fast.bias}
        return loss, quantities

    def _loss(self, answers: jax.Array, dtype: Any) -> jax.Array:
        """Sum over steps of the trace's loss."""
        if str(self["task"]) == "classification":
            labels = jnp.asarray(self["target"])
            return optax.softmax_cross_entropy_with_integer_labels(answers, labels).sum()
        return ((answers - jnp.asarray(self["target"], dtype)) ** 2).mean(-1).sum()


def _squared_norms(network: Network, params: Parameters, episode: EpisodeTrace) -> jax.Array:
    """||w||^2 over all layers after each step, [T], from the writes."""
    totals = jnp.zeros(len(episode.outputs.modulator))
    for name, writes in episode.writes.items():
        synapse = params.plasticity.synapses[name]
        totals += replay(
            network.backbone.shapes[name],
            writes,
            lambda w, s=synapse: (scaled_matrix(s, w.weight) ** 2).sum(),
        )
    return totals


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
