"""What the compiler of some accelerators says about a training step, which is not run."""

import time
from typing import Any

import jax
from ml_collections import ConfigDict

from plasticity.experiments import build
from plasticity.experiments.costs import compiled_cost, compiled_step, cost_of, named, seconds
from plasticity.experiments.lowered import execution_of, work_of
from plasticity.experiments.run.processor import is_out_of_memory
from plasticity.experiments.topology import CHIPS, Topology
from plasticity.experiments.validate import ConfigError
from plasticity.target import compiling_for, processes


def record(place: Topology, config: ConfigDict) -> dict[str, Any]:
    """The record of a config that is compiled for a topology, as written to the JSON file.

    Raises:
      ConfigError: it does not fit into the memory; the message is the compiler's.
    """
    config = config.copy_and_resolve_references()
    with compiling_for(place.devices):
        learner = build.make_learner(config)
        mesh, steps = learner.layout.mesh(config.train.batch), learner.task.trained_on.steps
        shapes = learner.make_network(
            build.make_hyperparameters(config, learner.task)
        ).backbone.shapes
        engine, chunk = build.choose_memory(config, shapes.values(), steps)
        start = time.process_time()
        try:
            step = compiled_step(config)
        except jax.errors.JaxRuntimeError as error:
            if is_out_of_memory(error):
                why = " ".join(str(error).split())[:300]
                raise ConfigError(f"the step does not fit on {place.name}: {why}") from error
            raise
        took, hosts = time.process_time() - start, processes()
    cost, execution, chip = work_of(step.as_text()), execution_of(step.as_text()), CHIPS[place.chip]
    memory = bytes_of(step.memory_analysis())
    data, model = mesh.shape.values()
    near = max(model, len(place.devices) // hosts)
    config.mesh.update({"data": data, "model": model})
    config.memory.update({"engine": engine, "chunk": chunk})
    estimate = (cost_of if config.model.get("layers", 0) > 3 else compiled_cost)(config)
    return {
        "topology": place.name,
        "chip": place.chip,
        "devices": len(place.devices),
        "hosts": hosts,
        "data": data,
        "model": model,
        "batch": config.train.batch,
        "steps": steps,
        "engine": engine,
        "chunk": chunk,
        "compile_cpu_seconds": took,
        "memory": memory,
        "fits": memory["peak"] < chip.memory,
        "execution": execution._asdict(),
        "compiler_seconds": execution.cycles / chip.clock or None,
        "per_device": named(cost),
        "seconds": seconds(cost, chip, near),
        "estimate": {"per_device": named(estimate), "seconds": seconds(estimate, chip, near)},
    }


def bytes_of(memory: Any) -> dict[str, float]:
    """Bytes of a device by the compiler's analysis; those of temporary arrays overlap in time."""
    parts = {
        "arguments": memory.argument_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
        "output": memory.output_size_in_bytes - memory.alias_size_in_bytes,
    }
    # A TPU counts nothing as temporary that lies in its fast memory only.
    return parts | {"peak": max(memory.peak_memory_in_bytes, sum(parts.values()))}


def in_words(one: dict[str, Any]) -> str:
    """The record of a topology, as lines of text."""
    memory, execution, estimate = one["memory"], one["execution"], one["estimate"]
    parts = ", ".join(f"{name} {size / 1e9:.3g}" for name, size in memory.items())
    padding = execution["padded_bytes"] / execution["result_bytes"]
    sent = ", ".join(
        f"{count} {kind} {where}"
        for where, counts in (("outside loops", "once"), ("in loops", "in_loops"))
        for kind, count in execution[counts].items()
    )

    def times(seconds: dict[str, float]) -> str:
        bound = max(seconds["products"], seconds["memory"]) + seconds["near"] + seconds["far"]
        of = ", ".join(f"{what} {1e3 * value:.3g}" for what, value in seconds.items())
        return f"{1e3 * bound:.3g} ms ({of})"

    guessed = estimate["per_device"]["state_bytes"] + estimate["per_device"]["temporary_bytes"]
    in_step = sum(execution["in_loops"].values()) / one["steps"]
    compiler = one["compiler_seconds"]
    return "\n".join(
        [
            f"{one['topology']} ({one['chip']}, {one['devices']} devices on {one['hosts']} hosts), "
            f"compiled in {one['compile_cpu_seconds']:.0f} CPU seconds, not run",
            f"  {one['data']} x {one['model']} devices, batch {one['batch']}, T {one['steps']}, "
            f"engine {one['engine']!r}",
            f"  memory: {'fits' if one['fits'] else 'does not fit'}; GB: {parts}",
            f"  {execution['operations']:,} operations; results are padded {padding:.2f} times",
            f"  collectives: {sent or 'none'} ({in_step:.3g} per step of the episode)",
            "  time by the compiler, without collectives: "
            + (f"{1e3 * compiler:.3g} ms" if compiler else "it says none"),
            f"  by the data sheet: {times(one['seconds'])}",
            f"  estimate without this compiler: {times(estimate['seconds'])}; "
            f"{guessed / 1e9:.3g} GB",
        ]
    )
