r"""The cost of a training step on many devices, without any of them.

python -m experiments.scaling --config=configs/large.py --meshes=1x8,8x8,64x8 --share=8 --out=FILE

The step is compiled for DATAxMODEL simulated devices, from shapes alone: no array is made. It is
compiled with one, two and three layers; each costs the same, which the third one checks, and the
cost of all `config.model.layers` follows. Memory is from XLA's own analysis. Matrix products and
bytes sent are counted in the partitioned program, with loops as often as they run. Times are from
the data sheets in `experiments.lowered.cost`: products at the peak rate, or their operands and
results through memory once for every product, whichever takes longer; communication at the full
rate of the links, never hidden behind computation.
"""

import json

import jax
from absl import flags

from experiments import cli
from experiments.lowered.cost import in_words, meshes, record
from experiments.validate import validate

CONFIG = cli.define_config()
MESHES = flags.DEFINE_list("meshes", ["1x8", "8x8", "64x8"], "meshes of devices, each DATAxMODEL")
SHARE = flags.DEFINE_integer("share", 8, "episodes per row of devices; there are DATA rows", 1)
OUT = flags.DEFINE_string("out", None, "JSON file to write; never overwritten")


def main() -> int:
    """Compiles for every mesh, prints and writes the cost."""
    base = cli.config_value(CONFIG)
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
    out.write_text(json.dumps(records, indent=2) + "\n")
    print(f"written: {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
