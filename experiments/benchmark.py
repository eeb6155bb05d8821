r"""Speed and memory of the engines on one config.

python -m experiments.benchmark --config=copying:hebbian --engines=dense,factored \
    --out=bench.json [--rules=hebbian,gradient] [--alphas=per_synapse] [--meta_gradients=full] \
    [--microbatches=0,4] [--together=4] [--repeats=5] [--config.x.y=v]

Per combination: training and forward-only episodes per second (median of `repeats` after a
warm-up), their spread (half the range, as a fraction of the median), seconds to compile without a
cache, and temporary memory of all devices by XLA. `flops` and `bytes` are XLA's cost analysis,
which counts the body of a loop once. `products` counts the operations of all matrix products of a
training step, loops included. `floor_fraction` is the least time of the step over its measured one.
The least time is that of `products` at the rate measured in this run, or that of writing and
reading the temporary memory once at the bandwidth measured in this run, whichever is longer.
`together_speedup` is how many times faster --together runs take a step in one program, as a sweep
may train its points, than one after the other: the median of rounds in which both take turns, and 1
without the flag.

Compare engines within one run only: machines differ, and so does their load.
"""

import functools
import itertools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from jax.sharding import Mesh
from ml_collections import ConfigDict

from plasticity.experiments import build, cli
from plasticity.experiments.configfile import set_field
from plasticity.experiments.lowered import count_products
from plasticity.experiments.run.footprint import check_footprint
from plasticity.experiments.run.manifest import device_name
from plasticity.experiments.run.program import inputs_of
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.validate import ConfigError, validate
from plasticity.learner import Learner, RandomStream
from plasticity.memory import ENGINES
from plasticity.sharding import DATA, Layout, replicate, split_over_devices
from plasticity.types import Array

CONFIG = cli.define_config()
GRID = {
    field: flags.DEFINE_list(name, [], f"values of {field}; default: the config's")
    for field, name in (
        ("rule.name", "rules"),
        ("rule.alpha", "alphas"),
        ("rule.meta_gradient", "meta_gradients"),
        ("train.microbatch", "microbatches"),
    )
}
GRID["memory.engine"] = flags.DEFINE_list("engines", list(ENGINES), "engines to compare, or auto")
TOGETHER = flags.DEFINE_integer("together", 1, "runs that train in one program", 1, 10_000)
REPEATS = flags.DEFINE_integer("repeats", 5, "timed repetitions", lower_bound=1)
OUT = flags.DEFINE_string(
    "out", None, "JSON file to write, for example bench.json; never overwritten"
)
COLUMNS = {  # of the table: title, and what it shows of a record
    "rule": "{rule}",
    "engine": "{engine}",
    "chunk": "{chunk}",
    "alpha": "{alpha}",
    "meta": "{meta_gradient}",
    "micro": "{microbatch}",
    "train eps/s": "{train_episodes_per_second:.1f}",
    "+-": "{spread:.0%}",
    "forward eps/s": "{forward_episodes_per_second:.1f}",
    "drawing": "{draw_fraction:.1%}",
    "together": "{together_speedup:.2f}",
    "compile s": "{compile_seconds:.1f}",
    "temp MB": "{temp_megabytes:.0f}",
    "of floor": "{floor_fraction:.0%}",
}


def measure(run: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of each of `repeats` runs, after a warm-up."""
    jax.block_until_ready(run())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return seconds


def device_rates() -> dict[str, float]:
    """Peak rates of all devices together, measured: matrix products and copies in float32."""
    devices, width = len(jax.local_devices()), 2048
    spread = jax.NamedSharding(Layout().mesh(devices), jax.P(DATA))
    matrices = jax.device_put(jnp.ones((devices, width, width)), spread)
    vectors = jax.device_put(jnp.ones((devices, 1 << 25)), spread)
    product = jax.jit(lambda m: jnp.einsum("dij,djk->dik", m, m))
    copy = jax.jit(lambda v: v + 1)
    operations, moved = 2 * width**3 * devices, 2 * vectors.nbytes
    return {
        "flops_per_second": operations / statistics.median(measure(lambda: product(matrices), 5)),
        "bytes_per_second": moved / statistics.median(measure(lambda: copy(vectors), 5)),
    }


def benchmark(config: ConfigDict, rates: dict[str, float], repeats: int) -> dict[str, Any]:
    """Measures one config: a record of the JSON file."""
    learner = build.make_learner(config)
    mesh = learner.layout.mesh(learner.batch)
    hyper = build.make_hyperparameters(config, learner.task)
    seed = jnp.asarray(config.seed, jnp.int32)
    state = jax.jit(learner.init)(seed, hyper)
    state, seed, hyper = replicate((state, seed, hyper), mesh)

    start = time.perf_counter()
    traced = jax.jit(learner.train_step).trace(state, seed, hyper)
    train = traced.lower().compile()
    compile_seconds = time.perf_counter() - start
    forward = jax.jit(learner.forward).lower(state.params, seed, hyper).compile()
    draw = _draw(learner, mesh).lower(seed, hyper.data).compile()

    seconds = measure(lambda: train(state, seed, hyper), repeats)
    median = statistics.median(seconds)
    drawing = statistics.median(measure(lambda: draw(seed, hyper.data), repeats))
    ahead = statistics.median(measure(lambda: forward(state.params, seed, hyper), repeats))
    products = count_products(traced.jaxpr.jaxpr) * mesh.size  # the jaxpr is that of one device
    temporary = train.memory_analysis().temp_size_in_bytes * mesh.size
    cost = train.cost_analysis() or {}
    floor = max(products / rates["flops_per_second"], 2 * temporary / rates["bytes_per_second"])
    shapes = learner.make_network(hyper).backbone.shapes.values()
    engine, chunk = build.choose_memory(config, shapes, learner.task.trained_on.steps)
    return {
        "engine": engine,
        "chunk": chunk,
        "rule": config.rule.name,
        "alpha": config.rule.get("alpha"),
        "meta_gradient": config.rule.meta_gradient,
        "batch": learner.batch,
        "microbatch": learner.microbatch,
        "steps": learner.task.trained_on.steps,
        "train_episodes_per_second": learner.batch / median,
        "spread": (max(seconds) - min(seconds)) / 2 / median,
        "forward_episodes_per_second": learner.batch / ahead,
        "draw_fraction": drawing / median,
        "together": TOGETHER.value,
        "together_speedup": together_speedup(config, learner, TOGETHER.value, repeats),
        "compile_seconds": compile_seconds,
        "temp_bytes": temporary,
        "flops": cost.get("flops"),
        "bytes": cost.get("bytes accessed"),
        "products": products,
        "floor_fraction": floor / median,
        "device": device_name(),
        "devices": mesh.size,
        **rates,
    }


def together_speedup(config: ConfigDict, learner: Learner, runs: int, repeats: int) -> float:
    """How many times faster `runs` runs take a step in one program than one after the other."""
    if runs == 1:
        return 1.0
    alone, both = (_step(config, learner, number) for number in (1, runs))
    ratios = []
    for _ in range(repeats):
        (one,), (all_of_them,) = measure(alone, 1), measure(both, 1)
        ratios.append(runs * one / all_of_them)
    return statistics.median(ratios)


def _step(config: ConfigDict, learner: Learner, runs: int) -> Callable[[], Any]:
    """The training step of runs that differ in their seeds, in one program."""
    configs = [config.copy_and_resolve_references() for _ in range(runs)]
    for which, one in enumerate(configs):
        one.seed, one.train.num_seeds = config.seed + which, 1
    seeds = Seeds(*configs)
    inputs = replicate(
        (seeds.array, inputs_of(configs, learner.task)), learner.layout.mesh(learner.batch)
    )
    state = jax.jit(seeds.map(learner.init, 0, seeds.hyper))(*inputs)
    step = jax.jit(seeds.map(learner.train_step, 0, 0, seeds.hyper))
    return functools.partial(step.lower(state, *inputs).compile(), state, *inputs)


def _draw(learner: Learner, mesh: Mesh) -> Any:
    """A program that only draws a training batch."""

    def share(index: Array, seed: Array, data: Any) -> Any:
        return learner.episodes(seed, RandomStream.TRAIN, jnp.zeros((), jnp.int32), index, data)

    drawn = split_over_devices(share, mesh)
    return jax.jit(lambda seed, data: drawn(jnp.arange(learner.batch), seed, data))


def combinations(config: ConfigDict) -> list[ConfigDict]:
    """The configs that the flags give, each valid.

    Raises:
      ConfigError: one of them is not, it has several seeds, or --engines is empty.
    """
    if config.train.num_seeds > 1:
        raise ConfigError(
            f"train.num_seeds={config.train.num_seeds} must be 1: one seed is measured, and "
            "--together=N times N that train in one program"
        )
    if not GRID["memory.engine"].value:
        raise ConfigError(f"--engines is empty: name some of auto, {', '.join(ENGINES)}")
    chosen = {field: flag.value for field, flag in GRID.items() if flag.value}
    configs = []
    for texts in itertools.product(*chosen.values()):
        one = config.copy_and_resolve_references()
        for field, text in zip(chosen, texts, strict=True):
            set_field(one, field, text)
        validate(one)
        check_footprint(one)
        configs.append(one)
    return configs


def table(records: list[dict[str, Any]]) -> str:
    """The records as a table of text."""
    shown = [record | {"temp_megabytes": record["temp_bytes"] / 1e6} for record in records]
    rows = [[form.format_map(record) for form in COLUMNS.values()] for record in shown]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in [COLUMNS, *rows])


def main() -> int:
    """Measures every combination, prints and writes the records."""
    configs = combinations(cli.given_config(CONFIG).config)
    out = cli.new_path("out", OUT.value)
    jax.config.update("jax_enable_compilation_cache", False)  # to measure compile_seconds
    rates = device_rates()
    print(
        f"{device_name()}, {len(jax.local_devices())} device(s): "
        f"{rates['flops_per_second'] / 1e9:.0f} GFLOP/s in matrix products, "
        f"{rates['bytes_per_second'] / 1e9:.1f} GB/s in copies",
        flush=True,
    )
    records = []
    for one in configs:
        records.append(benchmark(one, rates, REPEATS.value))
        print(table(records[-1:]), flush=True)
        out.write_text(json.dumps(records, indent=2) + "\n")  # of those so far: the next may fail
    print(f"\n{table(records)}\nwritten: {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
