"""Traces of the plastic RNN and LSTM of Duan et al. 2023: `duan2023_*` of tests/golden.

A batch of episodes, with the full meta-gradient. Its head is ordered [answers | auxiliary |
modulator]; ours [answers | modulator | auxiliary].
"""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from plasticity.episode import step
from plasticity.experiments.traces.recorded import GoldenTrace
from plasticity.experiments.validate import ConfigError
from plasticity.memory import ENGINES, advance
from plasticity.model import BACKBONES, EncoderSettings, RecurrentSettings
from plasticity.network import EpisodeState, Network, Parameters
from plasticity.rules import RULES
from plasticity.task import TaskShape
from plasticity.types import Plasticity, Synapse
from plasticity.unroll import run_episodes

HEAD = "head/columns"
# {name of the weight: our layer}, in plastic and in ordinary networks.
_LAYERS = {
    **{"in_fc.w.param": "input", "in_fc.weight": "input"},
    **{"rnn.h_fc.w.param": "hidden", "rnn.weight_hh": "hidden"},
    **{"rnn.i_fc.w.param": "drive", "rnn.weight_ih": "drive"},
    **{"out_fc.w.param": HEAD, "out_fc.weight": HEAD},
}


@dataclasses.dataclass(frozen=True)
class RecurrentTrace(GoldenTrace):
    """See the module."""

    def _layers(self) -> dict[str, str]:
        """{our layer: recorded name of its weight}, in the order of the trace."""
        # nn.Sequential puts a number between.
        plain = {name: re.sub(r"\.\d+\.", ".", name) for name in self.weights()}
        found = {_LAYERS[key]: name for name, key in plain.items() if key in _LAYERS}
        if missing := set(_LAYERS.values()) - found.keys():
            raise ConfigError(f"--trace lacks the weights of {', '.join(sorted(missing))}")
        return found

    def model(self, engine: str, chunk: int) -> Network:
        """The recurrent network, with the full meta-gradient."""
        episodes, steps, inputs = self["input"].shape
        settings = RecurrentSettings(
            hidden=int(self["hidden_size"]), auxiliary=int(self["extra_dim"])
        )
        rule = RULES[self.name]
        variant = rule.settings.pick(
            {
                "eta0": 2 * float(self["p_lr"]),
                "decay_ratio": float(self["p_wd"] / self["p_lr"]),
                "max_norm": float(self["inner_grad_clip"]),
                "decay": "unclipped",
                "modulated": bool(self["modulation"]),
                "post": "activation",
                "plastic_biases": self.name == "gradient",
                "norm_biases": True,
                "norm_epsilon": 0.0,
                "projection": "elementwise",
                "internal_scale": 1 / episodes,
            }
        )
        shape = TaskShape(inputs, self["target"].shape[-1], steps)
        return Network(
            backbone=BACKBONES[str(self["cell"]).lower()].make(settings, EncoderSettings(), shape),
            # Static rules too are replayed step by step, as they were recorded.
            rule=rule(**variant)._replace(static=False),
            memory=ENGINES[engine](chunk),
        )

    def parameters(self, dtype: Any) -> Parameters:
        """See the base class."""
        weights = self.weights()
        slow, synapses = {}, {}
        for layer, weight in self._layers().items():
            arrays = [weights[weight], weights[_bias(weight)]]
            if weight.endswith(".param"):
                arrays += [weights[_rate(weight)], weights[_rate(_bias(weight))]]
            else:
                arrays[0] = arrays[0].T
            mine = [self._reorder(layer, jnp.asarray(a, dtype)) for a in arrays]
            kernel, bias, alpha, beta = (*mine, None, None)[:4]
            slow |= {f"{layer}/kernel": kernel, f"{layer}/bias": bias}
            synapses[layer] = Synapse(
                None if alpha is None else alpha.T, None, None, self._if_gradient(beta)
            )
        projection = self._if_gradient(jnp.asarray(weights["out_weight"], dtype))
        return Parameters(
            {"params": unflatten_dict(slow, sep="/")}, Plasticity(synapses, projection)
        )

    def names(self, params: Parameters) -> dict[str, Any]:
        """See the base class. What our network does not have is zero."""
        slow = flatten_dict(params.slow["params"], sep="/")
        projection = params.plasticity.projection
        zero = np.zeros(self["param/out_weight"].shape)
        named = {"out_weight": zero if projection is None else projection}
        for layer, weight in self._layers().items():
            kernel, bias = (
                self._reorder(layer, slow[f"{layer}/{name}"], to_trace=True)
                for name in ("kernel", "bias")
            )
            if not weight.endswith(".param"):
                named |= {weight: kernel.T, _bias(weight): bias}
                continue
            alpha, _, _, beta = params.plasticity.synapses[layer]
            beta = jnp.zeros(bias.shape) if beta is None else beta
            named |= {
                weight: kernel,
                _bias(weight): bias,
                _rate(weight): self._reorder(layer, alpha.T, to_trace=True),
                _rate(_bias(weight)): self._reorder(layer, beta, to_trace=True),
            }
        return named

    def replay(self, network: Network, params: Parameters) -> tuple[jax.Array, dict[str, Any]]:
        """See the base class."""
        dtype = jax.tree.leaves(params)[0].dtype
        inputs = jnp.asarray(self["input"], dtype)
        trace = run_episodes(network, params, inputs)
        answers, modulator, auxiliary = trace.outputs
        loss = ((answers - jnp.asarray(self["target"], dtype)) ** 2).mean()
        gate = jax.nn.sigmoid(modulator)
        gate = gate if bool(self["modulation"]) else jnp.full_like(gate, 0.5)
        head = jnp.concatenate([answers, auxiliary, modulator[..., None]], -1)
        internal = (jnp.asarray(self["param/out_weight"], dtype) * head) ** 2
        return loss, {
            "trace/output": answers,
            "trace/lr": 2 * self["p_lr"] * gate,
            "trace/wd": 2 * self["p_wd"] * gate,
            "trace/internal_loss": internal.mean((0, 2)),
            "trace/state": jax.vmap(lambda x: self._states(network, params, x))(inputs),
            "loss_mean": loss,
        }

    def _states(self, network: Network, params: Parameters, inputs: jax.Array) -> jax.Array:
        """All fast parameters, then the hidden state, after each step of an episode: [T, S]."""
        memory, backbone, steps = network.memory, network.backbone, len(inputs)
        plastic = [name for name, weight in self._layers().items() if weight.endswith(".param")]
        fast = {
            name: memory.open(memory.init(shape, inputs.dtype), shape, steps)
            for name, shape in backbone.shapes.items()
        }
        state = EpisodeState(fast, (backbone.blank(1, inputs.dtype),))

        def body(state: EpisodeState, scanned: Any) -> tuple[EpisodeState, jax.Array]:
            x, t = scanned
            entry, _ = step(network, params, state, x, t, None)
            fast = {n: advance(memory, state.fast[n], w, t) for n, w in entry.writes.items()}
            parts = []
            for layer in plastic:
                synapse = params.plasticity.synapses[layer]
                weight, bias = memory.weights(memory.close(fast[layer]), synapse)
                parts += [self._reorder(layer, a, to_trace=True) for a in (weight.T, bias)]
            last = jax.tree.map(lambda a: a[None], entry.past)
            flat = jnp.concatenate([*map(jnp.ravel, parts), entry.past.value])
            return EpisodeState(fast, (last,)), flat

        return jax.lax.scan(body, state, (inputs, jnp.arange(steps, dtype=jnp.int32)))[1]

    def _if_gradient(self, array: Any) -> Any:
        """What the gradient rule alone has, such as plastic biases."""
        return array if self.name == "gradient" else None

    def _reorder(self, layer: str, array: Any, *, to_trace: bool = False) -> Any:
        """Columns [..., O] of a layer, from the order of the trace to ours, or back."""
        if layer != HEAD:
            return array
        answers, last = self["target"].shape[-1], array.shape[-1] - 1
        source, place = (answers, last) if to_trace else (last, answers)
        return jnp.insert(jnp.delete(array, source, -1), place, array[..., source], -1)


def _bias(weight: str) -> str:
    """The recorded name of the bias that belongs to a weight."""
    return weight.replace(".w.", ".b.").replace("weight", "bias")


def _rate(weight: str) -> str:
    """The recorded name of the plasticity coefficients of a weight or bias."""
    return weight.replace(".param", ".lr")
