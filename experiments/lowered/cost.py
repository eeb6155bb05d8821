"""The cost of a training step on many devices, from shapes alone.

Memory is from XLA's own analysis. Matrix products, the bytes that they move and the bytes that
devices send are counted in the partitioned program, with every loop as often as it runs.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments import build
from experiments.lowered.hlo import Work, work_of
from experiments.run.program import Program
from experiments.validate import ConfigError

DEPTHS = (1, 2, 3)
MOST_DEVICES = 4096  # of one process, for XLA to compile in reasonable time
TOLERANCE = 0.1  # between layers: XLA schedules the temporary memory of each differently


class Chip(NamedTuple):
    """A data sheet.

    Attributes:
      peak: operations per second in bfloat16.
      memory: bytes.
      bandwidth: of the memory, bytes per second.
      near, far: of the links within a row of devices and between rows, bytes per second.
    """

    peak: float
    memory: float
    bandwidth: float
    near: float
    far: float


# From the vendors' data sheets: TPUs with all links of the torus; GPUs with NVLink within a node
# and 400 Gb/s each between nodes.
CHIPS = {
    "TPU v4": Chip(275e12, 32e9, 1.23e12, 300e9, 300e9),
    "TPU v5p": Chip(459e12, 95e9, 2.77e12, 600e9, 600e9),
    "H200": Chip(989e12, 141e9, 4.8e12, 450e9, 50e9),
}


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one training step, per device: bytes, and operations in `work.products`."""

    state: float
    temporary: float
    work: Work

    def combined(self, other: "Cost", factor: float) -> "Cost":
        """self + factor * other."""
        return Cost(
            self.state + factor * other.state,
            self.temporary + factor * other.temporary,
            self.work + other.work.times(factor),
        )

    def differs_from(self, other: "Cost") -> bool:
        """Whether any entry differs from the other's by more than the tolerance."""
        mine, others = self.entries(), other.entries()
        return any(
            abs(mine.get(k, 0) - others.get(k, 0)) > TOLERANCE * max(others.get(k, 0), 1e6)
            for k in mine.keys() | others.keys()
        )

    def entries(self) -> dict[str, float]:
        """All numbers by name."""
        sent = {f"{kind} of {n} in {m}": size for (kind, n, m), size in self.work.sent.items()}
        return {
            "state_bytes": self.state,
            "temporary_bytes": self.temporary,
            "products": self.work.products,
            "moved_bytes": self.work.moved,
        } | sent


def compiled_cost(config: ConfigDict) -> Cost:
    """The cost of a config on its mesh, compiled with all its layers."""
    program = Program(config)
    mesh = program.learner.layout.mesh(config.train.batch)
    seed, hyper = (
        jnp.asarray(0, jnp.int32),
        build.make_hyperparameters(config, program.learner.task),
    )
    state = jax.eval_shape(program.init, seed, hyper)
    everywhere = jax.NamedSharding(mesh, jax.P())

    def abstract(array: Any, where: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(jnp.shape(array), jnp.result_type(array), sharding=where)

    state = jax.tree.map(abstract, state, program.shardings(state, mesh))
    seed, hyper = jax.tree.map(lambda a: abstract(a, everywhere), (seed, hyper))
    step = program.compiled_step(state, seed, hyper)
    memory = step.memory_analysis()
    return Cost(memory.argument_size_in_bytes, memory.temp_size_in_bytes, work_of(step.as_text()))


def cost_of(config: ConfigDict) -> Cost:
    """The cost of a config on its mesh, extrapolated from programs of one, two and three layers.

    Raises:
      RuntimeError: the third layer does not cost the same as the second.
    """
    found = []
    for layers in DEPTHS:
        few = config.copy_and_resolve_references()
        few.model.layers = layers
        found.append(compiled_cost(few))
    first, second, third = found
    layer = second.combined(first, -1)
    if third.differs_from(second.combined(layer, 1)):
        raise RuntimeError(
            f"layers do not cost the same: {[cost.entries() for cost in found]} for {DEPTHS}"
        )
    # The first layer differs: XLA merges parts of it with what comes before.
    return third.combined(third.combined(second, -1), config.model.layers - DEPTHS[-1])


def seconds(cost: Cost, chip: Chip, model: int) -> dict[str, float]:
    """Seconds of a step by part: products, memory, and the links within and between rows."""
    times = {"products": cost.work.products / chip.peak}
    times |= {"memory": cost.work.moved / chip.bandwidth, "near": 0.0, "far": 0.0}
    for (kind, devices, span), size in cost.work.sent.items():
        passes = 2 if kind == "all-reduce" else 1  # a sum is scattered, then gathered
        where, rate = ("near", chip.near) if span <= model else ("far", chip.far)
        times[where] += passes * size * (devices - 1) / devices / rate
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
            "fits": cost.state + cost.temporary < chip.memory,
            "busy": times["products"] / (within + times["far"]),
            "parallel": within / (within + times["far"]),
        }
    return {
        "devices": data * model,
        "data": data,
        "model": model,
        "batch": config.train.batch,
        "per_device": cost.entries(),
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
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", entry, re.ASCII)
        if not match:
            raise ConfigError(f"--meshes={entry} must be DATAxMODEL, for example 8x4")
        if (data := int(match[1])) * (model := int(match[2])) > MOST_DEVICES:
            raise ConfigError(f"--meshes={entry} must have at most {MOST_DEVICES} devices")
        found.append((data, model))
    return found
