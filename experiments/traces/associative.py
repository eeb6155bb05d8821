"""Traces of memory sites: `assoc_*` of tests/golden.

A few heads, each with its keys, values, queries and gates. Engine `parallel` is `associate`, and
`dense` is `associate` step by step; the other engines take every step by `associate_step`, where
the rule and the engine allow it.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from plasticity.associate import associate
from plasticity.experiments.traces.memories import MEMORIES, Recorded
from plasticity.experiments.traces.recorded import Arrays, GoldenTrace
from plasticity.experiments.validate import ConfigError
from plasticity.memory import ENGINES
from plasticity.memory.dense import TraceMatrix
from plasticity.rules import RULES
from plasticity.site_steps import site_of, site_step
from plasticity.synapse import PLAIN, WrittenRows
from plasticity.tokens import check_tokens
from plasticity.types import Array, FastState, LayerShape, Memory, PyTree, Rule, Token

IN_CHUNKS = {"dense": False, "parallel": True}  # the engines of `associate`
# (tokens [T, ...], state) -> answers [T, O], state
Run = Callable[[Token, Any], tuple[Array, Any]]


@dataclasses.dataclass(frozen=True)
class AssociativeTrace(GoldenTrace):
    """See the module."""

    given: ClassVar[tuple[str, ...]] = ("input/", "initial/")
    results: ClassVar[tuple[str, ...]] = ("output/", "final/", "grad/", "loss")
    numbers: ClassVar[tuple[str, ...]] = ("cotangent/", "setting/scale")
    what: ClassVar[str] = "variant"
    known: ClassVar[Collection[str]] = MEMORIES
    engines: ClassVar[tuple[str, ...]] = (*ENGINES, "parallel")

    @property
    def memory(self) -> Recorded:
        """How our rule is called, and its parts."""
        return MEMORIES[self.name]

    @property
    def settings(self) -> Arrays:
        """The settings of the recording."""
        return Arrays({n.removeprefix("setting/"): a for n, a in self.arrays.items()})

    def model(self, engine: str, chunk: int) -> Run:
        """The rule, run by an engine."""
        for name in [f"initial/{n}" for names in self.memory.layers.values() for n in names]:
            self[name]  # or it is said that the trace lacks it
        if self.memory.scaled:
            self["setting/scale"]
        rule = RULES[self.memory.rule](**self.memory.settings(self.settings, self.weights()))
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
        inputs, initial = (
            Arrays({n.removeprefix(part): a for n, a in params.items() if n.startswith(part)})
            for part in self.given
        )
        answers, after = model(self.memory.token(inputs, self.settings), self.memory.state(initial))
        return answers, self.memory.final(after, initial)


def _by_engine(
    rule: Rule, memory: Memory, tokens: Token, state: TraceMatrix
) -> tuple[Array, TraceMatrix]:
    """As `associate`, in chunks of the engine."""
    if not isinstance(state, TraceMatrix):
        raise ConfigError(f"a memory of layers {list(state)} is replayed by {list(IN_CHUNKS)}")
    tokens = check_tokens(site_of(rule), rule.form, tokens)

    def body(fast: FastState, scanned: tuple[Token, Array]) -> tuple[FastState, Array]:
        answer, after = site_step(rule, memory, fast, *scanned)  # `tokens` are checked
        return after, answer

    shape, base, answers = LayerShape(*state.weight.shape), _base(memory, state), []
    for start in range(0, len(tokens.key), memory.chunk):
        part = jax.tree.map(lambda a, t=start: a[t : t + memory.chunk], tokens)
        slots = len(part.key)
        opened = memory.open(base, shape, slots)
        fast, some = jax.lax.scan(body, opened, (part, jnp.arange(slots)))
        base = memory.close(fast)
        answers.append(some)
    if not isinstance(base, TraceMatrix):
        base = state._replace(weight=memory.weights(base, PLAIN).weight)
    return jnp.concatenate(answers), base


def _base(memory: Memory, state: TraceMatrix) -> PyTree:
    """The state as the engine stores it: as a matrix, or as rows, which are its columns."""
    outputs, inputs = state.weight.shape
    base = memory.init(LayerShape(outputs, inputs), state.weight.dtype)
    if isinstance(base, TraceMatrix):
        return state
    if state.momentum is not None:
        raise ConfigError("a memory with momentum is replayed by the engines that store matrices")
    return base._replace(
        rows=WrittenRows(state.weight.T, jnp.eye(inputs, dtype=state.weight.dtype))
    )
