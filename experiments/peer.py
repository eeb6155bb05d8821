r"""The same training gradient in plain PyTorch: how much faster is this library than that?

python -m experiments.peer --config=copying:hebbian --out=peer.json [--repeats=5] [--config.x.y=v]

Loss and meta-gradient of one batch, from the same parameters and episodes, without dropout: by
`plasticity`, with the engine of the config, and by `experiments/probing/torch_peer.py`, the
equations written down for a batch and differentiated by autograd. Both take turns; the file has the
medians of --repeats, their ratio, and the largest differences of loss and gradients, relative to
the largest entry of each. The config must have a Transformer with plastic feed-forward nets, the
Hebbian rule, and targets that are classes. PyTorch is in the extra `benchmark`.
"""

import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from plasticity.commands import install
from plasticity.experiments import build, cli
from plasticity.experiments.run.manifest import device_name
from plasticity.experiments.validate import ConfigError, validate
from plasticity.learner import RandomStream
from plasticity.network import Parameters

CONFIG = cli.define_config()
REPEATS = flags.DEFINE_integer("repeats", 5, "timed rounds", lower_bound=1)
OUT = flags.DEFINE_string("out", None, "JSON file to write; never overwritten")
NEEDED: dict[str, Any] = {
    "rule.name": "hebbian",
    "rule.meta_gradient": "full",
    "rule.plastic_biases": True,
    "rule.norm_biases": False,
    "rule.modulated": True,
    "rule.decay": "clipped",
    "rule.post": "linear",
    "model.name": "transformer",
    "model.mixer": "attention",
    "model.position": "learned",
    "model.plastic": "feed_forward",
    "model.tied": False,
    "model.levels": "",
    "train.microbatch": 0,
}


def checked(config: ConfigDict) -> ConfigDict:
    """The config without dropout; ConfigError: the peer does not compute such a network."""
    flat = fields_of(config)
    for field, value in NEEDED.items():
        if flat.get(field) != value:
            raise ConfigError(f"{field}={flat.get(field)!r}: the peer knows {value!r} only")
    config = config.copy_and_resolve_references()
    config.model.dropout = 0.0
    if config.model.attention_window < 0:
        raise ConfigError("model.attention_window=-1: the peer knows 0 or more only")
    validate(config)
    return config


def fields_of(config: ConfigDict) -> dict[str, Any]:
    """{section.field: value}."""
    return {
        f"{section}.{field}": value
        for section, fields in config.items()
        if isinstance(fields, ConfigDict)
        for field, value in fields.items()
    }


def peer_of(config: ConfigDict, params: Parameters) -> Any:
    """The peer with these parameters."""
    from plasticity.experiments.probing.torch_peer import Peer, Sizes, to_torch

    synapses = {name: s._asdict() for name, s in params.plasticity.synapses.items()}
    weights = to_torch(params.slow["params"]) | to_torch(synapses)
    rule, model = config.rule, config.model
    own = (rule.eta0, rule.max_norm, rule.decay_ratio, rule.norm_epsilon)
    return Peer(
        weights, Sizes(model.layers, model.heads, model.attention_window, model.auxiliary, *own)
    )


def difference(ours: Parameters, peer: Any) -> float:
    """The largest difference of a gradient from the peer's, by the largest entry of its array."""
    theirs = {name: np.asarray(w.grad) for name, w in peer.weights.items() if w.grad is not None}
    synapses = {name: s._asdict() for name, s in ours.plasticity.synapses.items()}
    flat = _flat(ours.slow["params"]) | _flat(synapses)
    return max(
        float(np.abs(flat[name] - grad).max() / max(np.abs(grad).max(), 1e-30))
        for name, grad in theirs.items()
    )


def _flat(tree: Mapping[str, Any], path: str = "") -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}{name}/")
        elif value is not None:
            found[f"{path}{name}"] = np.asarray(value)
    return found


def measure(config: ConfigDict, repeats: int) -> dict[str, Any]:
    """The record of the JSON file."""
    import torch

    learner = build.make_learner(config)
    hyper = build.make_hyperparameters(config, learner.task)
    seed, step = jnp.asarray(config.seed, jnp.int32), jnp.zeros((), jnp.int32)
    params = jax.jit(learner.init)(seed, hyper).params
    gradient = jax.jit(learner.gradient).lower(params, seed, step, hyper).compile()
    index = jnp.arange(learner.batch)
    episodes = learner.episodes(seed, RandomStream.TRAIN, step, index, hyper.data)
    batch = [torch.tensor(np.asarray(a)) for a in (episodes.inputs, episodes.targets)]
    if batch[1].is_floating_point():
        raise ConfigError(f"task.name={config.task.name!r}: the peer knows targets of classes only")
    batch[1], weights = batch[1].long(), torch.tensor(np.asarray(episodes.weights))
    peer = peer_of(config, params)

    def ours() -> Any:
        return jax.block_until_ready(gradient(params, seed, step, hyper))

    def theirs() -> Any:
        for weight in peer.weights.values():
            weight.grad = None
        loss = peer.loss(*batch, weights)
        loss.backward()
        return loss.detach()

    (metrics, _), grads = ours()
    loss = theirs()
    seconds: dict[str, list[float]] = {"plasticity": [], "pytorch": []}
    for _ in range(repeats):
        for name, run in (("plasticity", ours), ("pytorch", theirs)):
            seconds[name].append(timed(run))
    median = {name: statistics.median(took) for name, took in seconds.items()}
    shapes = learner.make_network(hyper).backbone.shapes.values()
    engine, chunk = build.choose_memory(config, shapes, learner.task.trained_on.steps)
    return {
        **{f"{name}_episodes_per_second": learner.batch / took for name, took in median.items()},
        **{
            f"{name}_spread": (max(took) - min(took)) / 2 / median[name]
            for name, took in seconds.items()
        },
        "times_faster": median["pytorch"] / median["plasticity"],
        "loss_difference": abs(float(metrics["loss"]) - float(loss)) / abs(float(loss)),
        "gradient_difference": difference(grads, peer),
        "engine": engine,
        "chunk": chunk,
        "alpha": config.rule.alpha,
        "batch": learner.batch,
        "steps": learner.task.trained_on.steps,
        "device": device_name(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }


def timed(run: Callable[[], Any]) -> float:
    """Seconds of the second of two runs: the first is a warm-up after the other program."""
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> int:
    """Measures, prints and writes the record."""
    config = checked(cli.given_config(CONFIG).config)
    out = cli.new_path("out", OUT.value)
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(f"PyTorch is not installed: {install('benchmark')}")
    record = measure(config, REPEATS.value)
    out.write_text(json.dumps(record, indent=2) + "\n")
    print(
        f"plasticity {record['plasticity_episodes_per_second']:.1f} episodes/s, PyTorch "
        f"{record['pytorch_episodes_per_second']:.1f}: {record['times_faster']:.1f} times; loss "
        f"differs by {record['loss_difference']:.1e}, gradients by "
        f"{record['gradient_difference']:.1e}\nwritten: {out}"
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
