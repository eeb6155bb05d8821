"""The work of a program, from its jaxpr or, on each device, from its text after compilation.

XLA's own cost analysis counts the body of a loop once and does not count communication. Here a loop
counts as often as it runs.
"""

import collections
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import jaxprs_in_params

from plasticity.experiments.hlo import (
    CUBLAS,
    Operation,
    multiplications,
    numbers,
    operations,
    padded_bytes,
    size_in_bytes,
)

# {quantity: amount}, of one device: "products", the operations of matrix products and convolutions;
# "moved_bytes", which these read and write if no operand stays in a cache; and for each
# (collective, devices in its group, span of their numbers) the bytes of its results. A group of the
# devices 0 and 4 has 2 devices and spans 5 numbers.
Work = Mapping[Any, float]
_COLLECTIVE = re.compile(
    "(all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|collective-broadcast)"
    "(-start)?"
)
_MESH = re.compile(r"replica_groups=mesh\[(.*?)\](?:, device_ids=\((.*?)\))? \{(.*?)\}")
# Their results contain the operands.
_WITH_OPERANDS = {"all-gather-start", "collective-permute-start"}
# Nothing is executed for them.
_NAMES = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id",
    "while", "call", "conditional",
}  # fmt: skip
NO_ESTIMATE = 2**60  # the compiler's cycles where it knows none are at least so many


def total(*terms: tuple[float, Work]) -> dict[Any, float]:
    """The sum of factor * work over all (factor, work)."""
    found: dict[Any, float] = collections.defaultdict(float)
    for factor, work in terms:
        for quantity, amount in work.items():
            found[quantity] += factor * amount
    return dict(found)


def count_products(jaxpr: Any) -> float:
    """Operations of all matrix products of a jaxpr; a loop counts as often as it runs."""
    total = 0.0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            inner = [eqn.invars[0].aval.shape[axis] for axis in contracted]
            total += 2 * eqn.outvars[0].aval.size * math.prod(inner)
        times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        total += times * sum(map(count_products, jaxprs_in_params(eqn.params)))
    return total


def work_of(text: str) -> Work:
    """The work of a compiled program.

    Args:
      text: `compiled.as_text()`, after partitioning: shapes are those of one device.

    Raises:
      ValueError: a loop has no known length.
    """
    return total(*((one.times, _work(one)) for one in _once_each(text)))


def _once_each(text: str) -> Iterator[Operation]:
    """All operations, but for the repetitions of a collective.

    TPUs send while other operations run: such a collective stands in the fusion of each of them,
    always with the same names of its channel and chain.
    """
    seen = set()
    for one in operations(text):
        parts = re.search(r"channel_id=(\d+).*\bchain_id=\"(\d+)\"", one.attributes)
        if _COLLECTIVE.fullmatch(one.kind) and parts:
            if parts.groups() in seen:
                continue
            seen.add(parts.groups())
        yield one


def _work(one: Operation) -> Work:
    if one.kind in ("dot", "convolution") or CUBLAS in one.attributes:
        moved = sum(map(size_in_bytes, (*one.operands[:2], one.shape)))
        return {"products": 2.0 * multiplications(one), "moved_bytes": moved}
    if match := _COLLECTIVE.fullmatch(one.kind):
        own = sum(map(size_in_bytes, one.operands)) if one.kind in _WITH_OPERANDS else 0
        return {(match[1], *_extent(_group(one.attributes))): size_in_bytes(one.shape) - own}
    return {}


class Execution(NamedTuple):
    """What a device executes in one call of a program."""

    operations: int
    cycles: int  # of the operations that the compiler has an estimate for; it has on TPUs
    result_bytes: float
    padded_bytes: float  # the same with the padding to whole tiles
    once: dict[str, int]  # {collective: how often}, outside of all loops
    in_loops: dict[str, int]  # the same, inside


def execution_of(text: str) -> Execution:
    """The execution of a compiled program, with loops as often as they run.

    Raises:
      ValueError: a loop has no known length.
    """
    executed, cycles, results, padded = 0, 0, 0.0, 0.0
    once: collections.Counter[str] = collections.Counter()
    in_loops: collections.Counter[str] = collections.Counter()
    for one in _once_each(text):
        if match := _COLLECTIVE.fullmatch(one.kind):
            (in_loops if one.loops else once)[match[1]] += one.times
        if one.fused or one.kind in _NAMES or one.kind.endswith(("-done", "-update")):
            continue
        executed += one.times
        estimate = re.search(r'"estimated_cycles":"(\d+)"', one.attributes)
        if estimate and int(estimate[1]) < NO_ESTIMATE:
            cycles += one.times * int(estimate[1])
        results += one.times * size_in_bytes(one.shape)
        padded += one.times * padded_bytes(one.shape)
    return Execution(executed, cycles, results, padded, dict(once), dict(in_loops))


def _group(attributes: str) -> np.ndarray:
    """The first group of a collective: the numbers of its devices.

    XLA writes the groups in one of three forms, here for the groups {0, 4} and {1, 5} and so on:

      replica_groups={{0,4},{1,5},{2,6},{3,7}}          every group
      replica_groups=[4,2]<=[2,4]T(1,0)                 [groups, size] of a transposed grid
      replica_groups=mesh['a'=2,'b'=4] {'a'}            the axes of a mesh along which it runs
    """
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return np.array(numbers(listed[1]))
    if rows := re.search(r"replica_groups=\[([\d,]+)\]<=(\S+)", attributes):
        return _grid(rows[2]).reshape(numbers(rows[1]))[0]
    if mesh := _MESH.search(attributes):
        axes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        sizes = [int(size) for size in axes.values()]
        grid = _grid(mesh[2] or f"[{math.prod(sizes)}]").reshape(sizes)
        taken = re.findall(r"'(\w+)'", mesh[3])
        return grid[tuple(slice(None) if axis in taken else 0 for axis in axes)]
    pairs = re.findall(r"\{(\d+),(\d+)\}", attributes.partition("source_target_pairs=")[2])
    if not pairs:
        raise ValueError(f"the devices of a collective are unknown: {attributes}")
    return np.array(max(pairs, key=lambda pair: abs(int(pair[0]) - int(pair[1]))), int)


def _grid(text: str) -> np.ndarray:
    """The grid [sizes]T(axes) of device numbers, its axes transposed."""
    match = re.match(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", text)
    assert match, text
    grid = np.arange(math.prod(numbers(match[1]))).reshape(numbers(match[1]))
    return grid.transpose(numbers(match[2])) if match[2] else grid


def _extent(group: np.ndarray) -> tuple[int, int]:
    return group.size, int(np.ptp(group)) + 1
