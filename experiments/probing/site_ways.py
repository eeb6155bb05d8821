"""Ways to compute the answers of a memory site, for `experiments.benchmark_sites`."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.associate import associate
from plasticity.rules import RULES
from plasticity.sharding import DATA, Layout
from plasticity.types import Array, Token

# {rule: (its settings, what it reads of a token beside query, key and value)}
SITES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "delta": ({}, ("rate",)),
    "gated_delta": ({}, ("rate", "keep")),
    "titans": ({"memory": "linear"}, ("rate", "keep", "momentum")),
}
RANGES = {"rate": (0.1, 0.9), "keep": (0.9, 1.0), "momentum": (0.3, 0.7)}
Given = dict[str, Array]  # query, key, value [B, H, T, I]; gates [B, H, T]


class Sizes(NamedTuple):
    """Sizes of the arrays, in the order of their axes."""

    batch: int
    heads: int
    steps: int
    width: int


class Way(NamedTuple):
    """A way to compute the answers [B, H, T, O] of given tokens, and the gradient of their sum."""

    forward: Callable[[], Any]
    train: Callable[[], Any]
    temp_bytes: int | None = None


def draw(rule: str, sizes: Sizes) -> Given:
    """Tokens for a rule."""
    random = np.random.default_rng(0)
    given = {name: random.normal(size=sizes) for name in ("query", "key", "value")}
    for name in ("query", "key"):
        given[name] /= np.linalg.norm(given[name], axis=-1, keepdims=True)
    for name in SITES[rule][1]:
        given[name] = random.uniform(*RANGES[name], size=sizes[:-1])
    if rule == "titans":  # with momentum a memory needs smaller rates
        given["rate"] /= 10
    return {name: jnp.asarray(array, jnp.float32) for name, array in given.items()}


def compiled(answer: Callable[[Given], Array], given: Given) -> Way:
    """A way in JAX, on all devices: each computes its share of the episodes."""
    mesh = Layout().mesh(len(given["key"]))
    answer = jax.shard_map(answer, mesh=mesh, in_specs=jax.P(DATA), out_specs=jax.P(DATA))
    given = jax.device_put(given, jax.NamedSharding(mesh, jax.P(DATA)))
    forward = jax.jit(answer).lower(given).compile()
    train = jax.jit(jax.grad(lambda g: answer(g).sum())).lower(given).compile()
    temporary = train.memory_analysis().temp_size_in_bytes * mesh.size
    return Way(lambda: forward(given), lambda: train(given), temporary)


def at_site(rule: str, chunk: int, given: Given) -> Way:
    """`plasticity.associate`."""
    made = RULES[rule](**SITES[rule][0])

    def one(given: Given) -> Array:
        gates = {name: given[name] for name in ("momentum",) if name in given}
        rest = {name: given[name] for name in given if name not in gates}
        return associate(made, Token(**rest, gates=gates), chunk=chunk)[0]

    return compiled(jax.vmap(jax.vmap(one)), given)


def steps(rule: str, chunk: int, given: Given) -> Way:
    """`plasticity.associate` step by step."""
    del chunk
    return at_site(rule, 0, given)


def _attention(given: Given, dtype: Any, implementation: str | None) -> Way:
    names = ("query", "key", "value")
    given = {name: given[name].swapaxes(1, 2).astype(dtype) for name in names}

    def answer(given: Given) -> Array:
        arrays = (given[name] for name in names)
        return jax.nn.dot_product_attention(*arrays, is_causal=True, implementation=implementation)

    return compiled(answer, given)


def attention(rule: str, chunk: int, given: Given) -> Way:
    """Causal softmax attention, on [B, T, H, I]."""
    del rule, chunk
    return _attention(given, jnp.float32, "xla")


def flash(rule: str, chunk: int, given: Given) -> Way:
    """The same by the kernel of cuDNN, which takes bfloat16 alone. RuntimeError: no NVIDIA GPU."""
    del rule, chunk
    if jax.default_backend() != "gpu":
        raise RuntimeError("cuDNN needs a GPU")
    return _attention(given, jnp.bfloat16, "cudnn")


def memax(rule: str, chunk: int, given: Given) -> Way:
    """An associative scan of (I - rate k k^T, rate k v^T), as in `memax.equinox.semigroups`."""
    del rule, chunk
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


def fla(rule: str, chunk: int, given: Given) -> Way:
    """`fla.ops.delta_rule.naive.delta_rule_chunkwise`, on PyTorch's own threads."""
    del rule
    torch = importlib.import_module("torch")
    chunks = importlib.import_module("fla.ops.delta_rule.naive").delta_rule_chunkwise
    names = ("query", "key", "value", "rate")
    tensors = [torch.tensor(np.asarray(given[name])) for name in names]

    def answer(query: Any, *rest: Any) -> Any:
        return chunks(query * query.shape[-1] ** 0.5, *rest, chunk_size=chunk)[0]

    def forward() -> Any:
        with torch.no_grad():
            return answer(*tensors)

    def train() -> Any:
        inputs = [tensor.clone().requires_grad_() for tensor in tensors]
        return torch.autograd.grad(answer(*inputs).sum(), inputs)

    return Way(forward, train)


WAYS: dict[str, Callable[[str, int, Given], Way]] = {
    "steps": steps,
    "attention": attention,
    "flash": flash,
    "memax": memax,
    "fla": fla,
}
DELTA_ONLY = ("memax", "fla")
OTHER_FUNCTIONS = ("attention", "flash")  # their answers are not those of a memory
CLOSE = 0.05  # products may be of bfloat16


def ways(rule: str, chunk: int, against: list[str], given: Given) -> dict[str, Way]:
    """The ways to compare for a rule; "chunks" is the first."""
    found = {"chunks": at_site(rule, chunk, given)}
    for name in against:
        if rule == "delta" or name not in DELTA_ONLY:
            try:
                found[name] = WAYS[name](rule, chunk, given)
            except (ImportError, RuntimeError, ValueError) as error:  # cuDNN refuses some sizes
                print(f"{name} is left out: {error}", flush=True)
    return found


def differences(found: dict[str, Way]) -> dict[str, float]:
    """{way: its largest difference from the answers of "chunks"}, of those that compute the same.

    Raises:
      ValueError: one does not.
    """
    answers = np.asarray(found["chunks"].forward())
    largest = {}
    for name in found.keys() - set(OTHER_FUNCTIONS):
        largest[name] = float(np.abs(np.asarray(found[name].forward()) - answers).max())
        if not largest[name] < CLOSE:
            raise ValueError(f"{name} differs from the chunks by {largest[name]:.3g}")
    return largest
