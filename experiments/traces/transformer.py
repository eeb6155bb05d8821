"""Traces of the published Transformer (Chaudhary 2025): `chaudhary2025_*` of tests/golden.

One episode, with the truncated meta-gradient. Weights of linear maps are stored as (out, in); ours,
except alpha, as (in, out).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from plasticity.experiments.traces.recorded import GoldenTrace
from plasticity.memory import ENGINES, replay
from plasticity.model import EncoderSettings, TransformerSettings, transformer
from plasticity.network import EpisodeTrace, Network, Parameters
from plasticity.registry import lookup
from plasticity.rules import RULES
from plasticity.synapse import scaled_matrix
from plasticity.task import TaskShape
from plasticity.types import Array, Plasticity, Synapse
from plasticity.unroll import run_episode

# {trace name of a module: path of our weight}; a trailing .T marks a transposed matrix.
_BLOCK = {
    "ln1.": "attention_norm/scale",
    "self_attn.in_proj_": "attention/query_key_value/kernel.T",
    "self_attn.out_proj.": "attention/out/kernel.T",
    "ln2.": "feed_forward_norm/scale",
    "feed_forward.fc1.": "fc1/kernel.T",
    "feed_forward.fc2.": "fc2/kernel.T",
}
_ENDS = {
    "input_proj.": "embed/kernel.T",
    "final_ln.": "final_norm/scale",
    "head.": "head/columns/kernel.T",
}
_LOSSES = {
    "classification": lambda answers, labels: optax.softmax_cross_entropy_with_integer_labels(
        answers, labels
    ).sum(),
    "regression": lambda answers, targets: ((answers - targets) ** 2).mean(-1).sum(),
}


@dataclasses.dataclass(frozen=True)
class TransformerTrace(GoldenTrace):
    """See the module."""

    def _slow(self) -> dict[str, str]:
        """{trace name: path of ours} of all slow weights and biases."""
        modules = dict(_ENDS)
        for i in range(int(self["num_layers"])):
            modules |= {f"blocks.{i}.{name}": f"block_{i}/{path}" for name, path in _BLOCK.items()}
        biases = {f"{n}bias": f"{path.rpartition('/')[0]}/bias" for n, path in modules.items()}
        return {f"{name}weight": path for name, path in modules.items()} | biases

    def _plastic(self) -> dict[str, str]:
        """{trace name: our name} of all plastic layers."""
        blocks = range(int(self["num_layers"]))
        return {
            f"blocks.{i}.feed_forward.{fc}": f"block_{i}/{fc}"
            for i in blocks
            for fc in ("fc1", "fc2")
        }

    def model(self, engine: str, chunk: int) -> Network:
        """The Transformer, with the truncated meta-gradient of the published code."""
        settings = TransformerSettings(
            layers=int(self["num_layers"]),
            heads=int(self["num_heads"]),
            width=self["param/input_proj.weight"].shape[0],
            feed_forward=self["param/blocks.0.feed_forward.fc1.weight"].shape[0],
            auxiliary=int(self["aux_dim"]),
            dropout=0.0,
        )
        steps, inputs = self["input"].shape
        outputs = self["trace/logits"].shape[-1]
        rule = RULES[self.name]
        rates = {"eta0": float(self["eta0"]), "max_norm": float(self["max_norm"])}
        return Network(
            backbone=transformer(settings, EncoderSettings(), TaskShape(inputs, outputs, steps)),
            # Static rules too are replayed step by step, as they were recorded.
            rule=rule(**rule.settings.pick(rates))._replace(static=False),
            memory=ENGINES[engine](chunk),
            meta_gradient="truncated",
        )

    def parameters(self, dtype: Any) -> Parameters:
        """The recorded weights as parameters of our Transformer and rule."""
        weights = self.weights()

        def get(name: str) -> Array:
            return jnp.asarray(weights[name], dtype)

        slow = {
            path.removesuffix(".T"): get(name).T if path.endswith(".T") else get(name)
            for name, path in self._slow().items()
        }
        synapses = {
            layer: Synapse(get(f"{name}.alpha"), None, None, get(f"{name}.beta"))
            for name, layer in self._plastic().items()
        }
        projection = get("internal_proj.weight") if self.name == "gradient" else None
        return Parameters(
            {"params": unflatten_dict(slow, sep="/")}, Plasticity(synapses, projection)
        )

    def names(self, params: Parameters) -> dict[str, Any]:
        """See the base class."""
        slow = flatten_dict(params.slow["params"], sep="/")
        named = {
            name: slow[path.removesuffix(".T")].T if path.endswith(".T") else slow[path]
            for name, path in self._slow().items()
        }
        for name, layer in self._plastic().items():
            synapse = params.plasticity.synapses[layer]
            named |= {f"{name}.alpha": synapse.alpha, f"{name}.beta": synapse.beta}
        if params.plasticity.projection is not None:
            named["internal_proj.weight"] = params.plasticity.projection
        return named

    def replay(self, network: Network, params: Parameters) -> tuple[jax.Array, dict[str, Any]]:
        """See the base class."""
        dtype = jax.tree.leaves(params)[0].dtype
        episode = run_episode(network, params, jnp.asarray(self["input"], dtype))
        target = (
            self["target"] if self["target"].dtype.kind == "i" else self["target"].astype(dtype)
        )
        loss = lookup(_LOSSES, str(self["task"]), "task")(episode.outputs.task, target)
        quantities = {
            "trace/logits": episode.outputs.task,
            "trace/tilde_eta": episode.outputs.modulator,
            "trace/aux": episode.outputs.auxiliary,
            "trace/eta": next(iter(episode.writes.values())).rate,
            "trace/fast_weight_sq_norm": _squared_norms(network, params, episode),
            "loss_sum": loss,
        }
        for name, layer in self._plastic().items():
            fast = network.memory.weights(
                episode.state.fast[layer], params.plasticity.synapses[layer]
            )
            short = name.replace(".feed_forward", "")
            quantities |= {f"fast/{short}.w": fast.weight, f"fast/{short}.b": fast.bias}
        return loss, quantities


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
