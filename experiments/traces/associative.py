"""Traces of memory sites: `assoc_*` of tests/golden.

A few heads, each with its keys, values, queries and gates. Engine `parallel` is `associate`, and
`dense` is `associate` step by step; the other engines take every step by `associate_step`.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from plasticity.associate import associate, associate_step
from plasticity.experiments.traces.recorded import Arrays, GoldenTrace
from plasticity.memory import ENGINES
from plasticity.memory.dense import TraceMatrix
from plasticity.rules import RULES
from plasticity.synapse import PLAIN, WrittenRows
from plasticity.types import Array, FastState, LayerShape, Memory, PyTree, Rule, Token

PER_INPUT = {"keep_per": "input"}
# {variant: name and settings of our rule}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "hebb": ("hebbian", {}),
    "hebb_decay": ("hebbian", {}),
    "hebb_channel_decay": ("hebbian", PER_INPUT),
    "hebb_normalised": ("hebbian", {"normalised": True}),
    "delta": ("delta", {}),
    "gated_delta": ("delta", {}),
    "kda": ("delta", PER_INPUT),
}
IN_CHUNKS = {"dense": False, "parallel": True}  # the engines of `associate`
# (tokens [T, ...], state) -> answers [T, O], state
Run = Callable[[Token, TraceMatrix], tuple[Array, TraceMatrix]]


@dataclasses.dataclass(frozen=True)
class AssociativeTrace(GoldenTrace):
    """See the module."""

    given: ClassVar[tuple[str, ...]] = ("input/", "initial/")
    results: ClassVar[tuple[str, ...]] = ("output/", "final/", "grad/", "loss")
    numbers: ClassVar[tuple[str, ...]] = ("cotangent/", "setting/scale")
    what: ClassVar[str] = "variant"
    known: ClassVar[Collection[str]] = VARIANTS
    engines: ClassVar[tuple[str, ...]] = (*ENGINES, "parallel")

    def model(self, engine: str, chunk: int) -> Run:
        """The rule, run by an engine."""
        name, settings = VARIANTS[self.name]
        rule = RULES[name](**settings)
        if engine in IN_CHUNKS:
            return functools.partial(associate, rule, chunk=chunk * IN_CHUNKS[engine])
        return functools.partial(_by_engine, rule, ENGINES[engine](chunk, rule.form))

    def parameters(self, dtype: Any) -> dict[str, Array]:
        """All inputs and the state before the first step, [H, ...]."""
        return {name: jnp.asarray(array, dtype) for name, array in self.weights().items()}

    def names(self, params: dict[str, Array]) -> dict[str, Any]:
        """See the base class."""
        return params

    def replay(self, model: Run, params: dict[str, Array]) -> tuple[Array, dict[str, Any]]:
        """See the base class."""
        answers, states = jax.vmap(functools.partial(self._head, model))(params)
        ours = {"output/o": answers} | {f"final/{name}": a for name, a in states.items()}
        # Equal sizes: `vdot`, unlike a product, does not broadcast.
        weights = {
            name: jnp.asarray(self[f"cotangent/{name}"], a.dtype) for name, a in ours.items()
        }
        loss = jnp.stack([jnp.vdot(a, weights[name]) for name, a in ours.items()]).sum()
        return loss, ours | {"loss": loss}

    def _head(self, model: Run, params: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Answers and final state of one head."""
        inputs = Arrays({name.removeprefix("input/"): array for name, array in params.items()})
        query = inputs["q"] * jnp.asarray(self["setting/scale"], inputs["q"].dtype)
        ones = jnp.ones_like(query[:, 0])
        rate, keep = inputs.get("beta", ones), inputs.get("decay", ones)
        matrix, sums = Arrays(params)["initial/M"], params.get("initial/z")
        if sums is not None:  # a normalised rule sums its keys in a further output
            matrix = jnp.concatenate([matrix, sums[None]])
        state = TraceMatrix(matrix, jnp.zeros(len(matrix), matrix.dtype))
        answers, after = model(Token(query, inputs["k"], inputs["v"], rate, keep), state)
        if sums is not None:
            return answers, {"M": after.weight[:-1], "z": after.weight[-1]}
        return answers, {"M": after.weight}


def _by_engine(
    rule: Rule, memory: Memory, tokens: Token, state: TraceMatrix
) -> tuple[Array, TraceMatrix]:
    """As `associate`, in chunks of the engine."""

    def body(fast: FastState, scanned: tuple[Token, Array]) -> tuple[FastState, Array]:
        answer, after = associate_step(rule, memory, fast, *scanned)
        return after, answer

    shape, base, answers = LayerShape(*state.weight.shape), _base(memory, state), []
    for start in range(0, len(tokens.key), memory.chunk):
        part = jax.tree.map(lambda a, t=start: a[t : t + memory.chunk], tokens)
        slots = len(part.key)
        opened = memory.open(base, shape, slots)
        fast, some = jax.lax.scan(body, opened, (part, jnp.arange(slots)))
        base = memory.close(fast)
        answers.append(some)
    return jnp.concatenate(answers), state._replace(weight=memory.weights(base, PLAIN).weight)


def _base(memory: Memory, state: TraceMatrix) -> PyTree:
    """The state as the engine stores it: as a matrix, or as rows, which are its columns."""
    outputs, inputs = state.weight.shape
    base = memory.init(LayerShape(outputs, inputs), state.weight.dtype)
    if isinstance(base, TraceMatrix):
        return state
    return base._replace(
        rows=WrittenRows(state.weight.T, jnp.eye(inputs, dtype=state.weight.dtype))
    )
