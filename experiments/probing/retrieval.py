"""Associative retrieval: a memory is written T times, then asked for the last value of a key.

Keys and values are numbers below S. A key of the memory is a projection of the learned embedding of
the key and of the one-hot value, a query is one of the embedding alone; both pass a feature map.
Values are written one-hot, so that only keys, queries and gates are trained.

Source: Schlag et al. 2021 (arXiv 2102.11174), section 6.1 and its code. Departures: evaluations
weigh all queries alike, where the code takes means of batches first; sums are divided by
query . z + 1e-10, not 1e-6.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.associate import associate
from plasticity.features import FEATURES, NORMS
from plasticity.rules import delta, gated_delta, hebb
from plasticity.types import Array, Key, Rule, Token

WIDTH = 64  # of keys and queries before the feature map
MOST_QUERIES = 200  # of an evaluated sequence
Params = dict[str, Any]


class Memory(NamedTuple):
    """A rule, and what it is given. It must be linear in the values, alike for all outputs."""

    rule: Rule
    norm: str = "sum"  # of keys and queries, in `NORMS`
    gates: Mapping[str, float] = {}  # learned, "rate" or "keep": {name: what the sigmoid starts at}


MEMORIES = {
    "sums": Memory(hebb(normalised=True), norm="none"),  # linear attention
    "hebb": Memory(hebb()),
    "delta": Memory(delta(), gates={"rate": 0.0}),
    "gated_delta": Memory(gated_delta(), gates={"rate": 0.0, "keep": 4.0}),
}


class Setting(NamedTuple):
    """How keys and values are drawn, (key, S, T) -> [T], and how often each is, on average."""

    draw: Callable[[Key, int, int], Array]
    times: int


SETTINGS = {
    "unique": Setting(lambda key, size, steps: jax.random.permutation(key, size)[:steps], 1),
    "rewritten": Setting(lambda key, size, steps: jax.random.randint(key, (steps,), 0, size), 2),
}


def recall(rule: Rule, writes: Token, queries: Array, chunk: int = 32) -> Array:
    """The answers [Q, O] to queries [Q, I] after all writes [T, ...], whose queries do not count.

    A query is a token whose rate is 0. `chunk`: as of `associate`, for the writes.
    """
    _, state = associate(rule, writes, chunk=chunk)
    nothing = jnp.zeros((len(queries), writes.value.shape[-1]))
    return associate(rule, Token(queries, jnp.zeros_like(queries), nothing, 0.0), state)[0]


def shares(rule: Rule, writes: Token, query: Array) -> Array:
    """The shares [T] of the values in the answer to a query [I], sum_t share_t value_t.

    They are the derivatives of the answer of a memory of one output, since answers are linear in
    the values, alike for all outputs. S outputs would be S times as much to write; of one output,
    the products of keys within a chunk are most of the work, hence short chunks.
    """

    def answer(values: Array) -> Array:
        return recall(rule, writes._replace(value=values[:, None]), query[None], chunk=8)[0, 0]

    return jax.grad(answer)(jnp.zeros(len(writes.key)))


def last_writes(keys: Array, size: int) -> Array:
    """The last step [S] at which each key below S was written; -1: never."""
    return jnp.full(size, -1).at[keys].max(jnp.arange(len(keys)))


def half_square(answer: Array, target: Array) -> Array:
    """The loss of one answer: half the summed square of its error."""
    return 0.5 * ((answer - target) ** 2).sum(-1)


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """A memory and a feature map in a setting, by their names, and S."""

    setting: str
    memory: str
    feature: str
    keys: int

    def sample(self, key: Key, steps: int) -> tuple[Array, Array]:
        """The keys and the values [T] of a sequence."""
        draw = SETTINGS[self.setting].draw
        first, second = jax.random.split(key)
        return draw(first, self.keys, steps), draw(second, self.keys, steps)

    def init(self, key: Key) -> Params:
        """The parameters before training."""
        size = int(1.1 * 2 * self.keys)
        both, bound = self.keys + size, WIDTH**-0.5
        first, second, third, *others = jax.random.split(key, 3 + len(self._memory.gates))
        gates = zip(self._memory.gates, others, strict=True)
        return {
            "embedding": jax.random.normal(first, (self.keys, size)),
            "key": _linear(second, both, WIDTH, bound),
            "query": _linear(third, size, WIDTH, bound),
            "gates": {name: _linear(seed, both, 1, both**-0.5) for name, seed in gates},
        }

    def loss(self, params: Params, keys: Array, values: Array, step: Array) -> Array:
        """The loss of the query for the key that was written at a step of a sequence."""
        asked = keys[step]
        right = values[last_writes(keys, self.keys)[asked]]
        writes = self.writes(params, keys, values)
        found = shares(self._memory.rule, writes, self.queries(params)[asked])
        answer = jnp.zeros(self.keys).at[values].add(found)
        return half_square(answer, jax.nn.one_hot(right, self.keys))

    def evaluate(self, params: Params, keys: Array, values: Array) -> tuple[Array, Array]:
        """The summed loss of the queries for all keys that were written, and their number."""
        last = last_writes(keys, self.keys)
        asked = (last >= 0) & (jnp.cumsum(last >= 0) <= MOST_QUERIES)
        writes = self.writes(params, keys, values)
        answers = recall(self._memory.rule, writes, self.queries(params))
        losses = half_square(answers, jax.nn.one_hot(values[last], self.keys))
        return losses.sum(where=asked), asked.sum()

    def writes(self, params: Params, keys: Array, values: Array) -> Token:
        """What is written [T, ...]."""

        def linear(layer: Params) -> Array:
            of_value, of_key = jnp.split(layer["weight"], [self.keys])
            return of_value[values] + (params["embedding"] @ of_key)[keys] + layer["bias"]

        key, gates = self._features(linear(params["key"])), self._memory.gates
        given = {name: linear(params["gates"][name])[:, 0] + gates[name] for name in gates}
        token = Token(query=key, key=key, value=jax.nn.one_hot(values, self.keys))
        return token._replace(**jax.tree.map(jax.nn.sigmoid, given))

    def queries(self, params: Params) -> Array:
        """The query for each key [S, I]."""
        layer = params["query"]
        return self._features(params["embedding"] @ layer["weight"] + layer["bias"])

    @property
    def _memory(self) -> Memory:
        return MEMORIES[self.memory]

    def _features(self, x: Array) -> Array:
        return NORMS[self._memory.norm](FEATURES[self.feature](x))


def _linear(key: Key, inputs: int, outputs: int, bound: float) -> Params:
    """A linear layer; its bias as in PyTorch, by default."""
    first, second, around = *jax.random.split(key), inputs**-0.5
    weight = jax.random.uniform(first, (inputs, outputs), minval=-bound, maxval=bound)
    bias = jax.random.uniform(second, (outputs,), minval=-around, maxval=around)
    return {"weight": weight, "bias": bias}
