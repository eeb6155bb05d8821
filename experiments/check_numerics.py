r"""Replays a recorded trace of the published code through our model, and compares everything.

python -m experiments.check_numerics --trace=FILE.npz [--dtype=float32|float64] [--engine=dense] \
    [--tolerance=1e-10]

Per quantity: the largest error, relative to the quantity's largest magnitude, or absolute where the
recorded quantity is all zeros. Exits with 1 if one exceeds the tolerance. Runs on whatever device
JAX finds; matrix products are done in full precision.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments import cli
from experiments.trace_format import GoldenTrace, plastic_layers, trace_names
from experiments.validate import ConfigError
from plasticity.memory import ENGINES, replay
from plasticity.model import EncoderSettings, TransformerSettings, transformer
from plasticity.network import Network, Parameters, Trace
from plasticity.rules import RULES, RuleSettings
from plasticity.synapse import scaled_matrix
from plasticity.types import TaskShape
from plasticity.unroll import run_episode

TRACE = flags.DEFINE_string("trace", None, "a .npz file in the format of tests/golden/README.md")
DTYPE = flags.DEFINE_enum("dtype", "float64", ["float32", "float64"], "precision of the replay")
ENGINE = flags.DEFINE_enum("engine", "dense", list(ENGINES), "the memory to replay it with")
CHUNK = flags.DEFINE_integer("chunk", 4, "steps per chunk of the memory", lower_bound=1)
TOLERANCE = flags.DEFINE_float("tolerance", None, "default: 1e-10 in float64, 1e-4 in float32")
DEFAULT_TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def compare(trace: GoldenTrace, dtype: Any, engine: str, chunk: int = 4) -> dict[str, float]:
    """Error of every recorded quantity: {name: relative to its largest magnitude}."""
    params = trace.parameters(dtype)
    network = make_network(trace, engine, chunk)
    loss = jax.jit(jax.value_and_grad(lambda p: _loss(network, trace, p), has_aux=True))
    (total, episode), grads = loss(params)

    ours: dict[str, Any] = {
        "trace/logits": episode.outputs.task,
        "trace/tilde_eta": episode.outputs.modulator,
        "trace/aux": episode.outputs.auxiliary,
        "trace/eta": next(iter(episode.writes.values())).rate,
        "trace/fast_weight_sq_norm": squared_norms(network, params, episode),
        "loss_sum": total,
    }
    for name, layer in plastic_layers(trace.layers):
        fast = network.memory.weights(episode.fast[layer], params.plasticity.synapses[layer])
        short = name.replace(".feed_forward", "")
        ours |= {f"fast/{short}.w": fast.weight, f"fast/{short}.b": fast.bias}
    ours |= {f"grad/{n}": g for n, g in trace_names(grads, trace.layers).items()}
    recorded = {n: a for n, a in trace.arrays.items() if n.startswith(("trace/", "fast/", "grad/"))}
    recorded["loss_sum"] = trace["loss_sum"]
    return {name: error(ours[name], array) for name, array in recorded.items()}


def error(ours: Any, recorded: np.ndarray) -> float:
    """Largest absolute difference over the largest recorded magnitude, or over 1 if that is 0."""
    ours = np.asarray(ours, np.float64)
    if ours.shape != recorded.shape:
        raise ConfigError(f"recorded with shape {recorded.shape}, computed with {ours.shape}")
    scale = np.abs(recorded).max(initial=0.0)
    return float(np.abs(ours - recorded).max(initial=0.0) / (scale or 1.0))


def make_network(trace: GoldenTrace, engine: str, chunk: int) -> Network:
    """The network of a trace, with the truncated meta-gradient of the published code."""
    width = trace["param/input_proj.weight"].shape[0]
    settings = TransformerSettings(
        layers=trace.layers,
        heads=int(trace["num_heads"]),
        width=width,
        feed_forward=trace["param/blocks.0.feed_forward.fc1.weight"].shape[0],
        auxiliary=int(trace["aux_dim"]),
        dropout=0.0,
    )
    steps, inputs = trace["input"].shape
    outputs = trace["trace/logits"].shape[-1]
    rule = RuleSettings(eta0=float(trace["eta0"]), max_norm=float(trace["max_norm"]))
    return Network(
        backbone=transformer(settings, EncoderSettings(), TaskShape(inputs, outputs, steps)),
        # Static rules too are replayed step by step, as they were recorded.
        rule=RULES[trace.rule](rule)._replace(static=False),
        memory=ENGINES[engine](chunk),
        meta_gradient="truncated",
    )


def _loss(network: Network, trace: GoldenTrace, params: Parameters) -> tuple[jax.Array, Trace]:
    """Sum over steps of the trace's loss, and the episode."""
    dtype = jax.tree.leaves(params)[0].dtype
    episode = run_episode(network, params, jnp.asarray(trace["input"], dtype))
    logits = episode.outputs.task
    if str(trace["task"]) == "classification":
        labels = jnp.asarray(trace["target"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum(), episode
    target = jnp.asarray(trace["target"], dtype)
    return ((logits - target) ** 2).mean(-1).sum(), episode


def squared_norms(network: Network, params: Parameters, episode: Trace) -> jax.Array:
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


def main() -> int:
    """Prints the table; 1 if an error exceeds the tolerance."""
    cli.require(trace=TRACE.value)
    jax.config.update("jax_enable_x64", DTYPE.value == "float64")
    jax.config.update("jax_default_matmul_precision", "highest")
    tolerance = TOLERANCE.value
    if tolerance is None:
        tolerance = DEFAULT_TOLERANCE[DTYPE.value]
    trace = GoldenTrace.load(TRACE.value)
    errors = compare(trace, jnp.dtype(DTYPE.value), ENGINE.value, CHUNK.value)
    for name, value in errors.items():
        print(f"{value:9.2e}  {name}{'' if value <= tolerance else '   > tolerance'}")
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    passed = all(value <= tolerance for value in errors.values())
    print(
        f"{'passed' if passed else 'FAILED'}: rule {trace.rule}, engine {ENGINE.value}, "
        f"{DTYPE.value}, {jax.devices()[0].device_kind}: worst {errors[worst]:.2e} ({worst}), "
        f"tolerance {tolerance:.0e}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    cli.run(main)
