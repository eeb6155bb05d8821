"""How the recorded memories of `assoc_*` name the inputs and states of our rules."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from plasticity.memory.dense import TraceMatrix
from plasticity.types import Array, Token

Named = Mapping[str, Array]  # arrays of one head, under the names of the recording
Settings = Mapping[str, Any]  # of the recording
Changes = dict[str, Array | None]
# Inputs of a recording that have other names in `Token`.
FIELDS = {"q": "query", "k": "key", "v": "value", "beta": "rate", "decay": "keep", "theta": "rate"}
NETS = {"linear": "linear", "silu_mlp": "mlp", "residual_mlp": "residual_mlp"}


def _same(a: Any) -> Any:
    return a


class Recorded(NamedTuple):
    """A recorded variant, as one of our rules.

    Attributes:
      rule: its name.
      settings: (settings of the recording, initial arrays) -> settings of our rule.
      inputs: (inputs of a head, settings) -> changes of them; None: none of a token's.
      layers: {our layer: the recorded arrays whose rows are its rows}.
      biases: {our layer: the recorded array}.
      scaled: whether answers have a scale.
      into, out: between a recorded matrix and ours.
    """

    rule: str
    settings: Callable[[Settings, Named], dict[str, Any]] = lambda given, initial: {}
    inputs: Callable[[Named, Settings], Changes] = lambda inputs, given: {}
    layers: Mapping[str, tuple[str, ...]] = {"": ("M",)}
    biases: Mapping[str, str] = {}
    scaled: bool = True
    into: Callable[[Array], Array] = _same
    out: Callable[[Array], Array] = _same

    def token(self, inputs: Named, given: Settings) -> Token:
        """The tokens [T, ...] of one head; a scale of the answers is in the query."""
        changed = self.inputs(inputs, given)
        for name in {"k", "v"} - changed.keys():
            inputs[name]  # or it is said that the recording lacks it
        inputs = {n: a for n, a in {**inputs, **changed}.items() if a is not None}
        named = {FIELDS.get(name, name): array for name, array in inputs.items()}
        fields = {name: named.pop(name) for name in Token._fields if name in named}
        query = fields.pop("query", fields["key"])
        if self.scaled:
            query = jnp.asarray(given["scale"], query.dtype) * query
        return Token(query, **fields, gates=named)

    def state(self, initial: Named) -> Any:
        """Our state."""
        found = {}
        for layer, names in self.layers.items():
            weight = self.into(jnp.concatenate([jnp.atleast_2d(initial[n]) for n in names]))
            nothing = jnp.zeros(len(weight), weight.dtype)
            bias = initial[self.biases[layer]] if layer in self.biases else nothing
            sums = initial.get(f"S_{names[0]}")
            found[layer] = TraceMatrix(weight, bias, None if sums is None else (sums, nothing))
        return found[""] if list(found) == [""] else found

    def final(self, after: Any, initial: Named) -> dict[str, Array]:
        """A state of ours under the names of the recording, whose initial arrays are given."""
        layers = {"": after} if isinstance(after, TraceMatrix) else after
        found: dict[str, Array] = {}
        for layer, names in self.layers.items():
            state, start = layers[layer], 0
            weight = self.out(state.weight)
            for name in names:
                rows = len(jnp.atleast_2d(initial[name]))
                found[name] = weight[start : start + rows].reshape(initial[name].shape)
                start += rows
            if state.momentum is not None:
                found[f"S_{names[0]}"] = state.momentum[0]
            if layer in self.biases:
                found[self.biases[layer]] = state.bias
        return found


def _per_input(given: Settings, initial: Named) -> dict[str, Any]:
    return {"keep_per": "input"}


def _network(given: Settings, initial: Named) -> dict[str, Any]:
    first = next((a for name, a in initial.items() if name.endswith("W1")), None)
    return {
        "memory": NETS[str(given["memory"])],
        "frozen": int(given["chunk"]),
        "hidden": 0 if first is None else int(first.shape[-2]),
    }


def _moneta(given: Settings, initial: Named) -> dict[str, Any]:
    names = {"loss_exponent", "norm_exponent", "sharpness", "smoothing"} & given.keys()
    found = {name: float(given[name]) for name in names}
    smooth = str(given["sign"]) == "smooth"
    return _network(given, initial) | found | {"map": str(given["map"]), "smooth": smooth}


def _yaad(given: Settings, initial: Named) -> dict[str, Any]:
    return _network(given, initial) | {"tail": str(given["tail"])}


def _memora(given: Settings, initial: Named) -> dict[str, Any]:
    return _network(given, initial) | {"total": float(given["total"])}


def _ttt(given: Settings, initial: Named) -> dict[str, Any]:
    return {"frozen": int(given["chunk"]), "base_rate": float(given["base_rate"])}


def _kept(inputs: Named, given: Settings) -> Changes:
    return {"keep": 1 - inputs["forget"], "forget": None}


def _each_step(*names: str) -> Callable[[Named, Settings], Changes]:
    """Inputs that are the same at all steps."""

    def spread(inputs: Named, given: Settings) -> Changes:
        steps = len(inputs["q"])
        return {n: jnp.broadcast_to(inputs[n], (steps, *inputs[n].shape)) for n in names}

    return spread


def _ttt_inputs(inputs: Named, given: Settings) -> Changes:
    rates = inputs["token_rate"]
    tiled = jnp.tile(rates, len(inputs["q"]) // len(rates))
    return _each_step("gamma", "shift")(inputs, given) | {"token_rate": tiled}


def _several(inputs: Named, given: Settings) -> Changes:
    n = int(given["householders"])
    return {
        name: inputs[name].reshape(-1, n, *inputs[name].shape[1:]) for name in ("k", "v", "beta")
    }


def _without_value(outputs: int) -> Callable[[Named, Settings], Changes]:
    return lambda inputs, given: {"v": jnp.zeros((len(inputs["k"]), outputs), inputs["k"].dtype)}


def _self_referential(inputs: Named, given: Settings) -> Changes:
    return {"k": inputs["x"], "v": jnp.zeros_like(inputs["x"]), "x": None}


DEEP = {"W1": ("W1",), "W2": ("W2",)}
MEMORIES: dict[str, Recorded] = {
    "hebb": Recorded("hebb"),
    "hebb_decay": Recorded("hebb"),
    "hebb_channel_decay": Recorded("hebb", _per_input),
    "hebb_normalised": Recorded(
        "hebb", lambda given, initial: {"normalised": True}, layers={"": ("M", "z")}
    ),
    "delta": Recorded("delta"),
    "gated_delta": Recorded("gated_delta"),
    "kda": Recorded("kda"),
    "comba": Recorded("comba"),
    "gated_delta_product": Recorded(
        "delta_product", lambda given, initial: {"writes": int(given["householders"])}, _several
    ),
    "oja_classic": Recorded("oja", inputs=_without_value(5)),
    "oja_gated": Recorded("oja_gated", into=jnp.transpose, out=jnp.transpose),
    "longhorn_exact": Recorded("longhorn", lambda given, initial: {"form": "exact"}),
    "longhorn_diagonal": Recorded("longhorn", lambda given, initial: {"form": "diagonal"}),
    "rwkv7": Recorded("rwkv7"),
    "mesa": Recorded("mesa", inputs=_each_step("ridge"), layers={"": ("M", "K")}),
    "srwm": Recorded(
        "srwm",
        inputs=_self_referential,
        layers={n: (f"W_{n}",) for n in ("y", "q", "k", "b")},
        scaled=False,
    ),
    "titans_linear_online": Recorded("titans", _network, _kept),
    "titans_linear_frozen": Recorded("titans", _network, _kept),
    "titans_mlp_online": Recorded("titans", _network, _kept, DEEP),
    "titans_mlp_frozen": Recorded("titans", _network, _kept, DEEP),
    "ttt_linear": Recorded("ttt_linear", _ttt, _ttt_inputs, {"": ("W",)}, {"": "b"}, scaled=False),
    "ttt_mlp": Recorded("ttt_mlp", _ttt, _ttt_inputs, DEEP, {"W1": "b1", "W2": "b2"}, False),
    **{
        f"moneta_linear{kind}": Recorded("moneta", _moneta, layers={"": ("A_M",)})
        for kind in ("", "_smooth", "_mirror")
    },
    "moneta_mlp_frozen": Recorded("moneta", _moneta, layers={"W1": ("A_W1",), "W2": ("A_W2",)}),
    "yaad_linear": Recorded("yaad", _yaad),
    "yaad_linear_huber": Recorded("yaad", _yaad),
    "yaad_mlp_frozen": Recorded("yaad", _yaad, layers=DEEP),
    "memora_linear": Recorded("memora", _memora, into=jnp.log, out=jnp.exp),
    "memora_mlp_frozen": Recorded("memora", _memora, layers=DEEP, into=jnp.log, out=jnp.exp),
}
