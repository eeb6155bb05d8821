r"""The cost of a training step on many devices, without any of them.

python -m experiments.scaling --config=large --meshes=1x8,8x8,64x8 --share=8 --out=FILE

The step is compiled for DATAxMODEL simulated devices, from shapes alone: no array is made. It is
compiled with one, two and three layers; each costs the same, which the third one checks, and the
cost of all `config.model.layers` follows. Memory is from XLA's own analysis. Matrix products and
bytes sent are counted in the partitioned program, with loops as often as they run. Times are from
the data sheets in `topology.CHIPS`: products at the peak rate, or their operands and results
through memory once for every product, whichever takes longer; communication at the full rate of the
links, never hidden behind computation.

python -m experiments.scaling --config=copying:hebbian --topology=v5e:2x2 --out=FILE

The step of the config as it is (`--config.train.batch`, `--config.mesh.model`, ...) is compiled by
the compiler of these accelerators, which takes a minute or more. Memory, operations and cycles are
what it says itself. Beside them stand the times by the data sheet, and the estimate of the first
form.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict

from plasticity.experiments import cli, compiled
from plasticity.experiments.costs import cost_of, named, seconds
from plasticity.experiments.topology import CHIPS, MOST_DEVICES, NAMES, topology
from plasticity.experiments.validate import ConfigError, validate
from plasticity.target import compiling_for

CONFIG = cli.define_config()
MESHES = flags.DEFINE_list("meshes", ["1x8", "8x8", "64x8"], "meshes of devices, each DATAxMODEL")
SHARE = flags.DEFINE_integer("share", 8, "episodes per row of devices; there are DATA rows", 1)
TOPOLOGY = flags.DEFINE_string("topology", None, f"accelerators to compile for, of {NAMES}")
OUT = flags.DEFINE_string("out", None, "JSON file to write; never overwritten")


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
        "per_device": named(cost),
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


def compile_for_topology(config: ConfigDict) -> int:
    """Compiles for the topology, prints and writes the cost."""
    for flag in ("meshes", "share"):
        if flags.FLAGS[flag].present:
            raise ConfigError(f"--{flag} is of simulated devices: with --topology, the config says")
    # The cache cannot hold programs of devices that are not there, and would warn.
    jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_platforms", "cpu")  # nothing is asked of accelerators, if there are any
    place = topology(TOPOLOGY.value)
    simulate(len(place.devices))
    with compiling_for(place.devices):
        validate(config)
    out = cli.new_path("out", OUT.value)
    made = compiled.record(place, config)
    print(compiled.in_words(made))
    out.write_text(json.dumps(made, indent=2) + "\n")
    print(f"written: {out}")
    return 0


def main() -> int:
    """Compiles for every mesh, or for a topology; prints and writes the cost."""
    base = cli.given_config(CONFIG).config
    if TOPOLOGY.value is not None:
        return compile_for_topology(base)
    if "layers" not in base.model:
        raise ConfigError(f"model.name={base.model.name!r} must be a model with layers")
    grids = meshes(MESHES.value)
    simulate(max(data * model for data, model in grids))
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


def simulate(devices: int) -> None:
    """Lets the CPU count as so many devices."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)


if __name__ == "__main__":
    cli.run(main)
