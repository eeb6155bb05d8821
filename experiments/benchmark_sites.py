r"""Speed and memory of memory sites, beside other ways to compute the same and softmax attention.

python -m experiments.benchmark_sites --out=sites.json [--rules=delta,gated_delta,titans] \
    [--against=steps,attention,memax,fla] [--steps=2048] [--width=64] [--heads=4] [--batch=4] \
    [--chunk=32] [--repeats=5] [--peak=989]

Per way: tokens a second forward, and forward and backward (of all inputs), medians of `repeats`
rounds in which the ways take turns, each after a warm-up; temporary memory of forward and backward
on all devices by XLA; and how many times faster the chunks of `plasticity.associate` are.
`difference` is the largest of the answers from those of the chunks.

  chunks     `associate` with --chunk
  steps      `associate` with chunk=0, which stores every state
  attention  `jax.nn.dot_product_attention`, causal; it computes something else
  flash      the same by cuDNN in bfloat16, on NVIDIA GPUs
  memax      the associative scan of its DeltaNet over matrices (extra `benchmark`)
  fla        the chunks of flash-linear-attention in plain PyTorch, delta_rule_chunkwise

The last two know the delta rule only. What is not installed is left out, with a word. All arrays
are float32 with keys and queries of length 1; JAX_DEFAULT_MATMUL_PRECISION=BF16_BF16_F32 rounds the
operands of products to bfloat16 on accelerators.

With --peak, the device's peak in 10^12 operations a second, `useful_share` is the share of it that
the definition needs: a read, a write and an answer of 2 I O operations each, twice that again for
the backward pass. What chunks compute in addition does not count.
"""

import json
import statistics
import time
from typing import Any

import jax
from absl import flags

from plasticity.experiments import cli
from plasticity.experiments.probing.site_ways import (
    SITES,
    WAYS,
    Sizes,
    Way,
    differences,
    draw,
    ways,
)
from plasticity.experiments.run.manifest import device_name
from plasticity.experiments.validate import ConfigError
from plasticity.sharding import Layout

RULE_NAMES = flags.DEFINE_list("rules", list(SITES), f"of {', '.join(SITES)}")
AGAINST = flags.DEFINE_list("against", ["steps"], "ways to compare with, see above; may be empty")
SIZES = {
    name: flags.DEFINE_integer(name, default, help, lower_bound=1)
    for name, default, help in (
        ("batch", 4, "episodes"),
        ("heads", 4, "memories of each episode"),
        ("steps", 2048, "tokens of each episode"),
        ("width", 64, "of keys and values, a head"),
    )
}
CHUNK = flags.DEFINE_integer("chunk", 32, "steps that are computed at once", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 5, "timed rounds", lower_bound=1)
PEAK = flags.DEFINE_float("peak", None, "10^12 operations a second of all devices", lower_bound=0)
OUT = flags.DEFINE_string("out", None, "JSON file to write; never overwritten")
WARM_SECONDS = 0.2
USEFUL = {"forward": 6, "train": 18}  # operations a token, head, input and output


def measure(found: dict[str, Way], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each way and direction, in rounds in which all take turns.

    Each turn begins with a warm-up: what another way has left in caches and in freed memory shows
    for some runs.
    """
    seconds: dict[str, dict[str, list[float]]] = {n: {"forward": [], "train": []} for n in found}
    for _ in range(repeats):
        for name, way in found.items():
            for kind, took in seconds[name].items():
                run = getattr(way, kind)
                warm = time.perf_counter() + WARM_SECONDS
                jax.block_until_ready(run())
                while time.perf_counter() < warm:
                    jax.block_until_ready(run())
                start = time.perf_counter()
                jax.block_until_ready(run())
                took.append(time.perf_counter() - start)
    return seconds


def benchmark(rule: str, sizes: Sizes) -> list[dict[str, Any]]:
    """The records of one rule."""
    found = ways(rule, CHUNK.value, AGAINST.value, draw(rule, sizes))
    difference = differences(found)
    seconds = measure(found, REPEATS.value)
    median = {n: {k: statistics.median(s) for k, s in both.items()} for n, both in seconds.items()}
    devices = {"device": device_name(), "devices": Layout().mesh(sizes.batch).size}
    devices["matmul_precision"] = jax.config.jax_default_matmul_precision or "default"
    records = []
    for name, way in found.items():
        record: dict[str, Any] = {"rule": rule, "way": name, "chunk": CHUNK.value}
        record |= sizes._asdict()
        for kind, took in seconds[name].items():
            rate = sizes.batch * sizes.steps / median[name][kind]
            record[f"{kind}_tokens_per_second"] = rate
            record[f"{kind}_spread"] = (max(took) - min(took)) / 2 / median[name][kind]
            record[f"chunks_{kind}_speedup"] = median[name][kind] / median["chunks"][kind]
            if PEAK.value and name in difference:
                useful = USEFUL[kind] * rate * sizes.heads * sizes.width**2
                record[f"{kind}_useful_share"] = useful / (PEAK.value * 1e12)
        record["temp_bytes"] = way.temp_bytes
        if name in difference:
            record["difference"] = difference[name]
        records.append(record | devices)
    return records


def line(record: dict[str, Any]) -> str:
    """A record as a line of text."""
    shown = [f"{record['rule']:12} {record['way']:10} T {record['steps']}"]
    for kind in ("forward", "train"):
        shown.append(
            f"{kind} {record[f'{kind}_tokens_per_second']:.0f} tokens/s "
            f"+-{record[f'{kind}_spread']:.0%}, chunks {record[f'chunks_{kind}_speedup']:.2f} times"
        )
    if record["temp_bytes"] is not None:
        shown.append(f"temp {record['temp_bytes'] / 1e6:.0f} MB")
    if "train_useful_share" in record:
        shown.append(f"{record['train_useful_share']:.2%} of peak")
    return "; ".join(shown)


def main() -> int:
    """Measures every rule, prints and writes the records."""
    if not RULE_NAMES.value:
        raise ConfigError(f"--rules is empty: name some of {', '.join(SITES)}")
    for flag, known in ((RULE_NAMES, list(SITES)), (AGAINST, list(WAYS))):
        for name in flag.value:
            if name not in known:
                raise ConfigError(f"--{flag.name} names {name!r}: choose of {', '.join(known)}")
    out = cli.new_path("out", OUT.value)
    sizes = Sizes(**{name: flag.value for name, flag in SIZES.items()})
    records: list[dict[str, Any]] = []
    for rule in RULE_NAMES.value:
        for record in benchmark(rule, sizes):
            records.append(record)
            print(line(record), flush=True)
        out.write_text(json.dumps(records, indent=2) + "\n")  # of those so far
    return 0


if __name__ == "__main__":
    cli.run(main)
