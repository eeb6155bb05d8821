"""Traces of the plastic RNN and LSTM of Duan et al. 2023: `duan2023_*` of tests/golden.

A batch of episodes, with the full meta-gradient. Its head is ordered [answers | auxiliary |
modulator]; ours [answers | modulator | auxiliary].
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.traces.recorded import GoldenTrace
from plasticity.episode import step
from plasticity.memory import ENGINES, advance, replay
from plasticity.model import BACKBONES, EncoderSettings, RecurrentSettings
from plasticity.network import EpisodeState, EpisodeTrace, Network, Parameters
from plasticity.rules import RULES, RuleSettings
from plasticity.synapse import scaled_bias, scaled_matrix
from plasticity.types import Plasticity, Synapse, TaskShape
from plasticity.unroll import run_episodes

# Layers by the name of their weight, in plastic and in ordinary networks.
_LAYERS = {
    "in_fc.w": "input",
    "rnn.h_fc.w": "hidden",
    "rnn.i_fc.w": "drive",
    "out_fc.w": "head/columns",
}
_ORDINARY = {
    "in_fc.weight": "input",
    "rnn.weight_hh": "hidden",
    "rnn.weight_ih": "drive",
    "out_fc.weight": "head/columns",
}


@dataclasses.dataclass(frozen=True)
class RecurrentTrace(GoldenTrace):
    """See the module."""

    required = (
        *("input", "target", "rule", "cell", "p_lr", "p_wd", "inner_grad_clip", "modulation"),
        *("hidden_size", "extra_dim", "param/out_weight"),
    )

    @property
    def answers(self) -> int:
        """O."""
        return int(self["target"].shape[-1])

    def layers(self) -> Iterator[tuple[str, str, str]]:
        """(name of the weight, name of the bias, our name of the layer), as recorded."""
        known = _LAYERS | _ORDINARY
        for name in self.named("param"):
            full = name.removesuffix(".param")
            # nn.Sequential puts a number between.
            layer = known.get(re.sub(r"\.\d+\.", ".", full))
            if layer is not None and not name.endswith(".lr"):
                bias = re.sub("weight", "bias", full) if "weight" in full else full[:-1] + "b"
                yield full, bias, layer

    def network(self, engine: str, chunk: int) -> Network:
        """The recurrent network, with the full meta-gradient."""
        episodes, steps, inputs = self["input"].shape
        settings = RecurrentSettings(
            hidden=int(self["hidden_size"]), auxiliary=int(self["extra_dim"])
        )
        make_backbone, _ = BACKBONES[str(self["cell"]).lower()]
        rule = RuleSettings(
            eta0=2 * float(self["p_lr"]),
            decay_ratio=float(self["p_wd"] / self["p_lr"]),
            max_norm=float(self["inner_grad_clip"]),
            decay="unclipped",
            modulated=bool(self["modulation"]),
            post="activation",
            plastic_biases=self.rule == "gradient",
            norm_biases=True,
            norm_epsilon=0.0,
            projection="elementwise",
            internal_scale=1 / episodes,
        )
        return Network(
            backbone=make_backbone(
                settings, EncoderSettings(), TaskShape(inputs, self.answers, steps)
            ),
            # Static rules too are replayed step by step, as they were recorded.
            rule=RULES[self.rule](rule)._replace(static=False),
            memory=ENGINES[engine](chunk),
        )

    def parameters(self, dtype: Any) -> Parameters:
        """See the base class."""
        arrays = {n: jnp.asarray(a, dtype) for n, a in self.named("param").items()}
        slow: dict[str, Any] = {}
        synapses: dict[str, Synapse] = {}
        for weight, bias, layer in self.layers():
            mine = {"kernel": arrays.get(f"{weight}.param"), "bias": arrays.get(f"{bias}.param")}
            if mine["kernel"] is None:
                mine = {"kernel": arrays[weight].T, "bias": arrays[bias]}
            alpha, beta = arrays.get(f"{weight}.lr"), arrays.get(f"{bias}.lr")
            if layer.startswith("head"):
                mine = {name: self._columns(array) for name, array in mine.items()}
                alpha, beta = self._columns(alpha), self._columns(beta)
            *parents, leaf = layer.split("/")
            node = slow
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = mine
            plastic = None if alpha is None else alpha.T
            synapses[layer] = Synapse(plastic, None, None, beta if self._plastic_biases else None)
        projection = arrays["out_weight"] if self.rule == "gradient" else None
        return Parameters({"params": slow}, Plasticity(synapses, projection))

    def names(self, params: Parameters) -> dict[str, Any]:
        """See the base class. What our network does not have is zero."""
        named = {name: np.zeros(a.shape) for name, a in self.named("param").items()}
        if params.plasticity.projection is not None:
            named["out_weight"] = params.plasticity.projection
        for weight, bias, layer in self.layers():
            mine = params.slow["params"]
            for part in layer.split("/"):
                mine = mine[part]
            mine = {name: self._recorded(layer, array) for name, array in mine.items()}
            if f"{weight}.param" not in named:
                named |= {weight: mine["kernel"].T, bias: mine["bias"]}
                continue
            named |= {f"{weight}.param": mine["kernel"], f"{bias}.param": mine["bias"]}
            synapse = params.plasticity.synapses[layer]
            named[f"{weight}.lr"] = self._recorded(layer, synapse.alpha.T)
            if synapse.beta is not None:
                named[f"{bias}.lr"] = self._recorded(layer, synapse.beta)
        return named

    def replay(self, network: Network, params: Parameters) -> tuple[jax.Array, dict[str, Any]]:
        """See the base class."""
        dtype = jax.tree.leaves(params)[0].dtype
        inputs = jnp.asarray(self["input"], dtype)
        trace = run_episodes(network, params, inputs)
        loss = ((trace.outputs.task - jnp.asarray(self["target"], dtype)) ** 2).mean()
        gate = jax.nn.sigmoid(trace.outputs.modulator)
        gate = gate if bool(self["modulation"]) else jnp.full_like(gate, 0.5)
        head = jnp.concatenate(
            [trace.outputs.task, trace.outputs.auxiliary, trace.outputs.modulator[..., None]], -1
        )
        internal = (jnp.asarray(self["param/out_weight"], dtype) * head) ** 2
        return loss, {
            "trace/output": trace.outputs.task,
            "trace/lr": 2 * self["p_lr"] * gate,
            "trace/wd": 2 * self["p_wd"] * gate,
            "trace/internal_loss": internal.mean((0, 2)),
            "trace/state": self._states(network, params, inputs, trace),
            "loss_mean": loss,
        }

    def _states(
        self, network: Network, params: Parameters, inputs: jax.Array, trace: EpisodeTrace
    ) -> jax.Array:
        """All fast parameters, then the hidden state, after every step: [B, T, S]."""
        parts = []
        plastic = [names for names in self.layers() if f"param/{names[0]}.param" in self.arrays]
        for _, _, layer in plastic:
            synapse = params.plasticity.synapses[layer]

            def both(w: Any, s: Synapse = synapse, layer: str = layer) -> jax.Array:
                weight = self._recorded(layer, scaled_matrix(s, w.weight).T)
                bias = self._recorded(layer, scaled_bias(s, w.bias))
                return jnp.concatenate([weight.ravel(), bias])

            shape = network.backbone.shapes[layer]
            parts.append(jax.vmap(lambda w: replay(shape, w, both))(trace.writes[layer]))  # noqa: B023
        hidden = jax.vmap(lambda x: _hidden_states(network, params, x))(inputs)
        return jnp.concatenate([*parts, hidden], -1)

    @property
    def _plastic_biases(self) -> bool:
        return self.rule == "gradient"

    def _columns(self, array: Any) -> Any:
        """Columns of the head, [..., O + A + 1], in our order."""
        if array is None:
            return None
        split = self.answers
        return jnp.concatenate([array[..., :split], array[..., -1:], array[..., split:-1]], -1)

    def _recorded(self, layer: str, array: Any) -> Any:
        """Columns of a layer, [..., O], in the order of the trace."""
        if not layer.startswith("head"):
            return array
        split = self.answers
        parts = [array[..., :split], array[..., split + 1 :], array[..., split : split + 1]]
        return jnp.concatenate(parts, -1)


def _hidden_states(network: Network, params: Parameters, inputs: jax.Array) -> jax.Array:
    """What each step of an episode leaves to the next one, [T, states * H]."""
    memory, backbone, steps = network.memory, network.backbone, len(inputs)
    fast = {
        name: memory.open(memory.init(shape, inputs.dtype), shape, steps, network.rule.per_output)
        for name, shape in backbone.shapes.items()
    }
    state = EpisodeState(fast, (backbone.blank(1, inputs.dtype),))

    def body(state: EpisodeState, scanned: Any) -> tuple[EpisodeState, jax.Array]:
        x, t = scanned
        entry, _ = step(network, params, state, x, t, None)
        fast = {name: advance(memory, state.fast[name], w, t) for name, w in entry.writes.items()}
        last = jax.tree.map(lambda a: a[None], entry.past)
        return EpisodeState(fast, (last,)), entry.past.value

    return jax.lax.scan(body, state, (inputs, jnp.arange(steps, dtype=jnp.int32)))[1]
