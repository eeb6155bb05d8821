"""How much memory training needs, estimated from shapes before anything is compiled."""

import functools
import json
import os
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from tqdm import tqdm

from plasticity.experiments import build
from plasticity.experiments.configfile import fields_of
from plasticity.experiments.run.program import learner_for, shape_of
from plasticity.experiments.validate import ConfigError
from plasticity.types import SiteShape

FLOAT_BYTES = 4
# Numbers that the backward pass keeps, per episode, step and plastic layer [O, I]: so many times
# O + I, and with the dense engine so many times O I. They fit XLA's own counts, see
# docs/howto/hosts.md.
ROWS = 9.0
DENSE = {"per_synapse": 2.3, "per_neuron": 1.3, "shared": 1.3}
REFUSED = 2.0  # times the memory of the machine: the estimate is off by less
FILLED = 0.5  # of the memory, by runs that train at once; evaluations need some, too


class Footprint(NamedTuple):
    """Bytes of a training step, of all devices together."""

    state: float  # parameters, their gradient and the optimizer's moments, of all seeds
    history: float  # what the backward pass keeps of the episodes differentiated at once


def estimate(config: ConfigDict) -> Footprint:
    """The footprint of a validated config; nothing is compiled."""
    return _estimate(shape_of(config))


@functools.lru_cache(maxsize=1)
def _estimate(shape: str) -> Footprint:
    config = ConfigDict(json.loads(shape))
    learner = learner_for(config)
    hyper = build.make_hyperparameters(config, learner.task)
    state = jax.eval_shape(learner.init, jnp.int32(0), hyper)
    network = learner.make_network(hyper)
    shapes = list(network.backbone.shapes.values())
    steps, seeds = learner.task.trained_on.steps, config.train.num_seeds
    engine, chunk = build.choose_memory(config, shapes, steps)
    numbers = ROWS * steps * sum(s.outputs + s.inputs for s in shapes)
    synapses = sum(s.outputs * s.inputs for s in shapes)
    matrices = {
        "factored": 0.0,
        "chunked": steps / max(chunk, 1),
        "dense": DENSE.get(config.rule.get("alpha"), max(DENSE.values()))
        * (steps / chunk + chunk if chunk else steps),
    }
    at_once = learner.batch
    if learner.microbatch:
        devices = learner.layout.mesh(learner.batch).shape["data"]
        at_once = min(at_once, learner.microbatch * devices)
    if learner.task.image is None:  # seeds of image tasks are trained in turn
        at_once *= seeds
    numbers += matrices.get(engine, 0.0) * synapses
    numbers += sum(_of_site(site, steps, network.site_chunk) for site in network.sites.values())
    history = FLOAT_BYTES * at_once * numbers
    leaves = jax.tree.leaves((state, state.params))
    return Footprint(seeds * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves), history)


def _of_site(site: SiteShape, steps: int, chunk: int) -> float:
    """Numbers kept of a memory site: rows of every step, a state for every chunk."""
    chunk = chunk or 1
    of_heads = (
        ROWS * steps * (shape.outputs + shape.inputs + chunk)
        + (steps / chunk + 1) * shape.outputs * shape.inputs
        for shape in site.layers.values()
    )
    return site.heads * sum(of_heads)


def check_footprint(config: ConfigDict) -> None:
    """Raises ConfigError if training needs far more memory than this machine has.

    The message names the largest settings.
    """
    needed, there = estimate(config), _memory_there()
    if sum(needed) <= REFUSED * there:
        return
    costly = ["model.", "train.batch", "train.num_seeds"]
    costly += ["task."] if needed.history > needed.state else []
    numbers = [
        (value, f"{field}={value}")
        for field, value in fields_of(config)
        if field.startswith(tuple(costly)) and type(value) is int
    ]
    largest = ", ".join(text for _, text in sorted(numbers)[:-5:-1])
    raise ConfigError(
        f"training needs about {in_words(needed)}, and this machine has "
        f"{tqdm.format_sizeof(there, 'B')}. The largest settings are {largest}; train.microbatch "
        "divides the kept steps"
    )


def fitting(config: ConfigDict) -> int:
    """How many runs of the shape of a config may train at once: at least one."""
    return max(1, int(FILLED * _memory_there() / sum(estimate(config))))


def plan_in_words(config: ConfigDict) -> str:
    """How fast weights are stored, if there are any, and what a training step needs."""
    learner = learner_for(config)
    network = learner.make_network(build.make_hyperparameters(config, learner.task))
    lines = []
    if not network.rule.static:
        shapes = network.backbone.shapes.values()
        engine, chunk = build.choose_memory(config, shapes, learner.task.trained_on.steps)
        how = f"chunks of {chunk} steps" if chunk else "episodes in one piece"
        who = "memory.engine='auto' chose" if config.memory.engine == "auto" else "engine"
        lines.append(f"fast weights: {who} {engine!r}, with {how}")
    lines.append(f"compiling the training step, which needs about {in_words(estimate(config))}")
    return "\n".join(lines)


def in_words(footprint: Footprint) -> str:
    """Such as "1.20GB (200MB of parameters and optimizer, 1.00GB of kept steps)"."""
    whole, state, history = (
        tqdm.format_sizeof(size, "B")
        for size in (sum(footprint), footprint.state, footprint.history)
    )
    return f"{whole} ({state} of parameters and optimizer, {history} of kept steps)"


def _memory_there() -> float:
    """Bytes of all devices of the run, or of its hosts if they are the hosts' cores."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    limits = [float(own.get("bytes_limit", 0)) for own in stats]
    return jax.process_count() * (sum(limits) if all(limits) else _host_memory())


def _host_memory() -> float:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = pathlib.Path("/sys/fs/cgroup/memory.max")  # of a container
    given = limit.read_text().strip() if limit.is_file() else ""
    return float(min(physical, int(given)) if given.isdigit() else physical)
