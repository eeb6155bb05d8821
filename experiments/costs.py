"""The cost of a training step, from its program as it is compiled for some devices."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.lowered import Work, total, work_of
from plasticity.experiments.run.program import Program
from plasticity.experiments.topology import Chip

TOLERANCE = 0.1  # between layers: XLA schedules the temporary memory of each differently


def compiled_step(config: ConfigDict) -> Any:
    """The training step of a config, compiled for its mesh from shapes alone."""
    program = Program(config)
    mesh = program.learner.layout.mesh(config.train.batch)
    hyper = build.make_hyperparameters(config, program.learner.task)
    seeds = config.train.num_seeds
    seed = jnp.zeros((seeds,) if seeds > 1 else (), jnp.int32)
    state = jax.eval_shape(program.init, seed, hyper)
    everywhere = jax.NamedSharding(mesh, jax.P())

    def abstract(array: Any, where: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(jnp.shape(array), jnp.result_type(array), sharding=where)

    state = jax.tree.map(abstract, state, program.shardings(state, mesh))
    seed, hyper = jax.tree.map(lambda a: abstract(a, everywhere), (seed, hyper))
    return program.compiled_step(state, seed, hyper)


def compiled_cost(config: ConfigDict) -> Work:
    """The work of a device in one step of a config on its mesh, and the bytes that it holds."""
    step = compiled_step(config)
    memory = step.memory_analysis()
    return {
        "state_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        **work_of(step.as_text()),
    }


def cost_of(config: ConfigDict) -> Work:
    """The cost of a config on its mesh, extrapolated from programs of one, two and three layers.

    Raises:
      RuntimeError: the third layer does not cost the same as the second.
    """
    found = []
    for layers in (1, 2, 3):
        few = config.copy_and_resolve_references()
        few.model.layers = layers
        found.append(compiled_cost(few))
    first, second, third = found
    for quantity, error in total((1, third), (-2, second), (1, first)).items():
        if abs(error) > TOLERANCE * max(third.get(quantity, 0), 1e6):
            raise RuntimeError(f"layers do not cost the same, in {quantity}: {found}")
    # third + (layers - 3) * (third - second). The first layer differs: XLA merges parts of it with
    # what comes before.
    return total((config.model.layers - 2, third), (3 - config.model.layers, second))


def seconds(cost: Work, chip: Chip, row: int) -> dict[str, float]:
    """Seconds of a step by part: products, memory, and the links within and between rows."""
    times = {"products": cost["products"] / chip.peak}
    times |= {"memory": cost["moved_bytes"] / chip.bandwidth, "near": 0.0, "far": 0.0}
    for kind, devices, span in (key for key in cost if isinstance(key, tuple)):
        passes = 2 if kind == "all-reduce" else 1  # a sum is scattered, then gathered
        where, rate = ("near", chip.near) if span <= row else ("far", chip.far)
        sent = cost[kind, devices, span] * (devices - 1) / devices
        times[where] += passes * sent / rate
    return times


def named(cost: Work) -> dict[str, float]:
    """A cost with keys for a JSON file."""
    return {
        key if isinstance(key, str) else "{} of {} in {}".format(*key): amount
        for key, amount in cost.items()
    }
