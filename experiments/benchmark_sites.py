r"""Speed and memory of memory sites, beside other ways to compute the same and softmax attention.

python -m experiments.benchmark_sites --out=sites.json [--rules=delta,gated_delta,titans] \
    [--against=steps,attention,memax,fla] [--steps=2048] [--width=64] [--heads=4] [--batch=4] \
    [--chunk=32] [--repeats=5]

Per way: tokens a second forward, and forward and backward (of all inputs), medians of `repeats`
rounds in which the ways take turns, each after a warm-up; temporary memory of forward and backward
on all devices by XLA; and how many times faster the chunks of `plasticity.associate` are.
`difference` is the largest of the answers from those of the chunks.

  chunks     `associate` with --chunk
  steps      `associate` with chunk=0, which stores every state
  attention  `jax.nn.dot_product_attention`, causal; it computes something else
  memax      the associative scan of its DeltaNet over matrices (pip install plasticity[benchmark])
  fla        the chunks of flash-linear-attention in plain PyTorch, delta_rule_chunkwise

The last two know the delta rule only, and are left out, with a word, where they are not installed.
All arrays are float32 with keys and queries of length 1.
"""

import importlib
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from plasticity.associate import associate
from plasticity.experiments import cli
from plasticity.experiments.run.manifest import device_name
from plasticity.experiments.validate import ConfigError
from plasticity.rules import RULES
from plasticity.sharding import DATA, Layout
from plasticity.types import Array, Rule, Token

# {rule: (its settings, what it reads of a token beside query, key and value)}
SITES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "delta": ({}, ("rate",)),
    "gated_delta": ({}, ("rate", "keep")),
    "titans": ({"memory": "linear"}, ("rate", "keep", "momentum")),
}
RANGES = {"rate": (0.1, 0.9), "keep": (0.9, 1.0), "momentum": (0.3, 0.7)}
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
OUT = flags.DEFINE_string("out", None, "JSON file to write; never overwritten")
WARM_SECONDS = 0.2
Given = dict[str, Array]  # query, key, value [B, H, T, I]; gates [B, H, T]


class Way(NamedTuple):
    """A way to compute the answers [B, H, T, O] of given tokens, and the gradient of their sum."""

    forward: Callable[[], Any]
    train: Callable[[], Any]
    temp_bytes: int | None = None


def draw(rule: str) -> Given:
    """Tokens for a rule, of the sizes of the flags."""
    shape = tuple(flag.value for flag in SIZES.values())
    random = np.random.default_rng(0)
    given = {name: random.normal(size=shape) for name in ("query", "key", "value")}
    for name in ("query", "key"):
        given[name] /= np.linalg.norm(given[name], axis=-1, keepdims=True)
    for name in SITES[rule][1]:
        given[name] = random.uniform(*RANGES[name], size=shape[:-1])
    if rule == "titans":  # with momentum a memory needs smaller rates
        given["rate"] /= 10
    return {name: jnp.asarray(array, jnp.float32) for name, array in given.items()}


def compiled(answer: Callable[[Given], Array], given: Given) -> Way:
    """A way in JAX, on all devices: each computes its share of the episodes."""
    mesh = Layout().mesh(SIZES["batch"].value)
    answer = jax.shard_map(answer, mesh=mesh, in_specs=jax.P(DATA), out_specs=jax.P(DATA))
    given = jax.device_put(given, jax.NamedSharding(mesh, jax.P(DATA)))
    forward = jax.jit(answer).lower(given).compile()
    train = jax.jit(jax.grad(lambda g: answer(g).sum())).lower(given).compile()
    temporary = train.memory_analysis().temp_size_in_bytes * mesh.size
    return Way(lambda: forward(given), lambda: train(given), temporary)


def at_site(rule: Rule, chunk: int, given: Given) -> Way:
    """`plasticity.associate`."""

    def one(given: Given) -> Array:
        gates = {name: given[name] for name in ("momentum",) if name in given}
        rest = {name: given[name] for name in given if name not in gates}
        return associate(rule, Token(**rest, gates=gates), chunk=chunk)[0]

    return compiled(jax.vmap(jax.vmap(one)), given)


def attention(given: Given) -> Way:
    """Causal softmax attention, on [B, T, H, I]."""
    names = ("query", "key", "value")
    given = {name: given[name].swapaxes(1, 2) for name in names}

    def answer(given: Given) -> Array:
        return jax.nn.dot_product_attention(*(given[n] for n in names), is_causal=True)

    way = compiled(answer, given)
    return way._replace(forward=lambda: way.forward().swapaxes(1, 2))


def memax(given: Given) -> Way:
    """An associative scan of (I - rate k k^T, rate k v^T), as in `memax.equinox.semigroups`."""
    group = importlib.import_module("memax.equinox.semigroups.delta").DeltaNetSemigroup
    scan = importlib.import_module("memax.equinox.scans").semigroup_scan
    width = given["key"].shape[-1]
    algebra = group(width)

    def one(given: Given) -> Array:
        scaled = given["rate"][:, None] * given["key"]
        kept = jnp.eye(width) - jnp.einsum("ti,tj->tij", scaled, given["key"])
        written = jnp.einsum("ti,to->tio", scaled, given["value"])
        states = scan(algebra, algebra.initialize_carry(), (kept, written))[1]
        return jnp.einsum("tio,ti->to", states, given["query"])

    return compiled(jax.vmap(jax.vmap(one)), given)


def fla(given: Given) -> Way:
    """`fla.ops.delta_rule.naive.delta_rule_chunkwise`, on PyTorch's own threads."""
    torch = importlib.import_module("torch")
    chunks = importlib.import_module("fla.ops.delta_rule.naive").delta_rule_chunkwise
    names = ("query", "key", "value", "rate")
    tensors = [torch.tensor(np.asarray(given[name])) for name in names]

    def answer(query: Any, *rest: Any) -> Any:
        return chunks(query * query.shape[-1] ** 0.5, *rest, chunk_size=CHUNK.value)[0]

    def forward() -> Any:
        with torch.no_grad():
            return answer(*tensors)

    def train() -> Any:
        inputs = [tensor.clone().requires_grad_() for tensor in tensors]
        return torch.autograd.grad(answer(*inputs).sum(), inputs)

    return Way(forward, train)


WAYS: dict[str, Callable[[Given], Way]] = {"attention": attention, "memax": memax, "fla": fla}
DELTA_ONLY = ("memax", "fla")


def ways(name: str, given: Given) -> dict[str, Way]:
    """The ways to compare for a rule; "chunks" is the first."""
    settings, _ = SITES[name]
    rule = RULES[name](**settings)
    found = {"chunks": at_site(rule, CHUNK.value, given)}
    for other in AGAINST.value:
        if other == "steps":
            found[other] = at_site(rule, 0, given)
        elif name == "delta" or other not in DELTA_ONLY:
            try:
                found[other] = WAYS[other](given)
            except ImportError as error:
                print(f"{other} is left out: {error}", flush=True)
    return found


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


def benchmark(rule: str) -> list[dict[str, Any]]:
    """The records of one rule."""
    given = draw(rule)
    found = ways(rule, given)
    seconds = measure(found, REPEATS.value)
    median = {n: {k: statistics.median(s) for k, s in both.items()} for n, both in seconds.items()}
    sizes = {name: flag.value for name, flag in SIZES.items()}
    answers = np.asarray(found["chunks"].forward())
    records = []
    for name, way in found.items():
        differs = np.abs(np.asarray(way.forward()) - answers).max()
        record: dict[str, Any] = {"rule": rule, "way": name, "chunk": CHUNK.value, **sizes}
        for kind, took in seconds[name].items():
            tokens = sizes["batch"] * sizes["steps"]
            record[f"{kind}_tokens_per_second"] = tokens / median[name][kind]
            record[f"{kind}_spread"] = (max(took) - min(took)) / 2 / median[name][kind]
            record[f"chunks_{kind}_speedup"] = median[name][kind] / median["chunks"][kind]
        record["temp_bytes"] = way.temp_bytes
        record["difference"] = None if name == "attention" else float(differs)
        records.append(
            record | {"device": device_name(), "devices": Layout().mesh(sizes["batch"]).size}
        )
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
    return "; ".join(shown)


def main() -> int:
    """Measures every rule, prints and writes the records."""
    for flag, known in ((RULE_NAMES, list(SITES)), (AGAINST, ["steps", *WAYS])):
        for name in flag.value:
            if name not in known:
                raise ConfigError(f"--{flag.name} names {name!r}: choose of {', '.join(known)}")
    out = cli.new_path("out", OUT.value)
    records: list[dict[str, Any]] = []
    for rule in RULE_NAMES.value:
        for record in benchmark(rule):
            records.append(record)
            print(line(record), flush=True)
        out.write_text(json.dumps(records, indent=2) + "\n")  # of those so far
    return 0


if __name__ == "__main__":
    cli.run(main)
