r"""The cost of a training step on many devices, without any of them.

python -m experiments.scaling --config=large --meshes=1x8,8x8,64x8 --share=8 --out=FILE

The step is compiled for DATAxMODEL simulated devices, from shapes alone: no array is made. It is
compiled with one, two and three layers; each costs the same, which the third one checks, and the
cost of all `config.model.layers` follows. Memory is from XLA's own analysis. Matrix products and
bytes sent are counted in the partitioned program, with loops as often as they run. Times are from
the data sheets in `CHIPS`: products at the peak rate, or their operands and results through memory
once for every product, whichever takes longer; communication at the full rate of the links, never
hidden behind computation.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import flags
from ml_collections import ConfigDict

from plasticity.experiments import build, cli
from plasticity.experiments.lowered import Work, total, work_of
from plasticity.experiments.run.program import Program
from plasticity.experiments.validate import ConfigError, validate

CONFIG = cli.define_config()
MESHES = flags.DEFINE_list("meshes", ["1x8", "8x8", "64x8"], "meshes of devices, each DATAxMODEL")
SHARE = flags.DEFINE_integer("share", 8, "episodes per row of devices; there are DATA rows", 1)
OUT = flags.DEFINE_string("out", None, "JSON file to write; never overwritten")
MOST_DEVICES = 4096  # of one process, for XLA to compile in reasonable time
TOLERANCE = 0.1  # between layers: XLA schedules the temporary memory of each differently


class Chip(NamedTuple):
    """A data sheet."""

    peak: float  # operations per second in bfloat16
    memory: float  # bytes
    bandwidth: float  # of the memory, bytes per second
    near: float  # of the links within a row of devices, bytes per second
    far: float  # of the links between rows


# From the vendors' data sheets: TPUs with all links of the torus; GPUs with NVLink within a node
# and 400 Gb/s each between nodes.
CHIPS = {
    "TPU v4": Chip(275e12, 32e9, 1.23e12, 300e9, 300e9),
    "TPU v5p": Chip(459e12, 95e9, 2.77e12, 600e9, 600e9),
    "H200": Chip(989e12, 141e9, 4.8e12, 450e9, 50e9),
}


def compiled_cost(config: ConfigDict) -> Work:
    """The work of a device in one step of a config on its mesh, and the bytes that it holds."""
    program = Program(config)
    mesh = program.learner.layout.mesh(config.train.batch)
    hyper = build.make_hyperparameters(config, program.learner.task)
    seed = jnp.asarray(0, jnp.int32)
    state = jax.eval_shape(program.init, seed, hyper)
    everywhere = jax.NamedSharding(mesh, jax.P())

    def abstract(array: Any, where: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(jnp.shape(array), jnp.result_type(array), sharding=where)

    state = jax.tree.map(abstract, state, program.shardings(state, mesh))
    seed, hyper = jax.tree.map(lambda a: abstract(a, everywhere), (seed, hyper))
    step = program.compiled_step(state, seed, hyper)
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


def seconds(cost: Work, chip: Chip, model: int) -> dict[str, float]:
    """Seconds of a step by part: products, memory, and the links within and between rows."""
    times = {"products": cost["products"] / chip.peak}
    times |= {"memory": cost["moved_bytes"] / chip.bandwidth, "near": 0.0, "far": 0.0}
    for kind, devices, span in (key for key in cost if isinstance(key, tuple)):
        passes = 2 if kind == "all-reduce" else 1  # a sum is scattered, then gathered
        where, rate = ("near", chip.near) if span <= model else ("far", chip.far)
        sent = cost[kind, devices, span] * (devices - 1) / devices
        times[where] += passes * sent / rate
    return times


def record(config: ConfigDict) -> dict[str, Any]:
    """The record of one mesh, as written to the JSON file."""
    data, model = config.mesh.data, config.mesh.model
    cost = cost_of(config)
    chips = {}
    for name, chip in CHIPS.items():
        times = seconds(cost, chip, model)
        within = max(times["products"], times["memory"]) + times["near"]
        chips[name] = {
            "seconds": times,
            "fits": cost["state_bytes"] + cost["temporary_bytes"] < chip.memory,
            "busy": times["products"] / (within + times["far"]),
            "parallel": within / (within + times["far"]),
        }
    return {
        "devices": data * model,
        "data": data,
        "model": model,
        "batch": config.train.batch,
        "per_device": {
            key if isinstance(key, str) else "{} of {} in {}".format(*key): amount
            for key, amount in cost.items()
        },
        "chips": chips,
    }


def in_words(one: dict[str, Any]) -> str:
    """The record of a mesh, as lines of text."""
    costs = ", ".join(f"{name} {value / 1e9:.3g} G" for name, value in one["per_device"].items())
    lines = [f"{one['data']} x {one['model']} devices, batch {one['batch']}, each: {costs}"]
    for name, chip in one["chips"].items():
        times = ", ".join(f"{what} {1e3 * value:.1f} ms" for what, value in chip["seconds"].items())
        fits = "fits" if chip["fits"] else "does not fit"
        lines.append(
            f"  {name}: {fits}; {times}; at {chip['busy']:.0%} of its peak; "
            f"{1 - chip['parallel']:.1%} of the time between rows"
        )
    return "\n".join(lines)


def meshes(given: Sequence[str]) -> list[tuple[int, int]]:
    """(data, model) of each entry of the flag.

    Raises:
      ConfigError: there is none, or one is not of the form DATAxMODEL.
    """
    found = []
    for entry in given or [""]:
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", entry, re.ASCII)
        if not match:
            raise ConfigError(f"--meshes={entry} must be DATAxMODEL, for example 8x4")
        if (data := int(match[1])) * (model := int(match[2])) > MOST_DEVICES:
            raise ConfigError(f"--meshes={entry} must have at most {MOST_DEVICES} devices")
        found.append((data, model))
    return found


def main() -> int:
    """Compiles for every mesh, prints and writes the cost."""
    base = cli.given_config(CONFIG).config
    if "layers" not in base.model:
        raise ConfigError(f"model.name={base.model.name!r} must be a model with layers")
    grids = meshes(MESHES.value)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(data * model for data, model in grids))
    configs = []
    for data, model in grids:
        config = base.copy_and_resolve_references()
        config.mesh.update({"data": data, "model": model})
        config.train.batch = data * SHARE.value
        config.evaluate.batch = data
        validate(config)
        configs.append(config)
    out = cli.new_path("out", OUT.value)
    records = []
    for config in configs:
        records.append(record(config))
        print(in_words(records[-1]), flush=True)
        out.write_text(json.dumps(records, indent=2) + "\n")  # of those so far: the next may fail
    print(f"written: {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
