"""The work of a program, from its jaxpr or, on each device, from its text after compilation.

XLA's own cost analysis counts the body of a loop once and does not count communication. Here a loop
counts as often as it runs.
"""

import collections
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jax.extend.core import jaxprs_in_params

# {quantity: amount}, of one device: "products", the operations of matrix products; "moved_bytes",
# which these read and write if no operand stays in a cache; and for each (collective, devices in
# its group, span of their numbers) the bytes of its results. A group of the devices 0 and 4 has 2
# devices and spans 5 numbers.
Work = Mapping[Any, float]
_COLLECTIVE = re.compile("all-(reduce|gather|to-all)|reduce-scatter|collective-(permute|broadcast)")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([a-z][\w-]*)\((.*)$")
_SHAPE = re.compile(r"[a-z]+(\d*)\w*\[([\d,]*)\]")  # f32[8,3], f8e4m3[2], pred[]
_MESH = re.compile(r"replica_groups=mesh\[(.*?)\](?:, device_ids=\((.*?)\))? \{(.*?)\}")
_CALLED = re.compile(r"(?:calls|to_apply|body|branch_computations)=\{?(%[\w.-]+(?:, %[\w.-]+)*)")


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
      ValueError: a loop has no known length, or the program was not compiled for a CPU.
    """
    computations = {name: (body, entry) for entry, name, body in _COMPUTATION.findall(text)}
    entries = [name for name, (_, entry) in computations.items() if entry]
    if not entries:
        raise ValueError("this is not the text of a compiled program: it has no ENTRY")

    @functools.cache
    def of(name: str) -> Work:
        shapes: dict[str, str] = {}
        lines = computations[name][0].splitlines()
        return total(*(term for line in lines for term in _terms(line, shapes, of)))

    return of(entries[0])


def _terms(
    line: str, shapes: dict[str, str], of: Callable[[str], Work]
) -> Iterator[tuple[float, Work]]:
    """(times, work) of an instruction, whose shape is added to `shapes`."""
    match = _INSTRUCTION.match(line)
    if not match:
        return
    name, shape, operation, rest = match.groups()
    shapes[name] = shape
    if operation == "dot":
        yield 1, _product(shape, rest, shapes)
    elif _COLLECTIVE.fullmatch(operation):
        yield 1, {(operation, *_extent(_group(rest))): _bytes(shape)}
    elif operation.endswith("-start"):  # not of a CPU; its shape holds operands as well as results
        raise ValueError(f"{operation} cannot be counted: compile for a CPU")
    elif operation in ("fusion", "call", "while", "conditional"):
        times = 1
        if operation == "while":
            known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', rest)
            if not known:
                raise ValueError(f"the loop {name} has no known length")
            times = int(known[1])
        for called in _CALLED.finditer(rest):
            for other in called[1].split(","):
                yield times, of(other.strip(" %"))


def _product(shape: str, rest: str, shapes: Mapping[str, str]) -> Work:
    left, right = (shapes[name] for name in re.findall(r"%([\w.-]+)", rest)[:2])
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
    assert contracted, rest
    inner = [_sizes(left)[axis] for axis in _numbers(contracted[1])]
    products = 2.0 * math.prod(_sizes(shape)) * math.prod(inner)
    return {"products": products, "moved_bytes": _bytes(left) + _bytes(right) + _bytes(shape)}


def _sizes(shape: str) -> list[int]:
    match = _SHAPE.search(shape)
    assert match, shape
    return _numbers(match[2])


def _bytes(shape: str) -> float:
    found = _SHAPE.findall(shape)
    return sum(int(bits or 8) / 8 * math.prod(_numbers(sizes)) for bits, sizes in found)


def _group(rest: str) -> np.ndarray:
    """The first group of a collective: the numbers of its devices.

    XLA writes the groups in one of three forms, here for the groups {0, 4} and {1, 5} and so on:

      replica_groups={{0,4},{1,5},{2,6},{3,7}}          every group
      replica_groups=[4,2]<=[2,4]T(1,0)                 [groups, size] of a transposed grid
      replica_groups=mesh['a'=2,'b'=4] {'a'}            the axes of a mesh along which it runs
    """
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return np.array(_numbers(listed[1]))
    if rows := re.search(r"replica_groups=\[([\d,]+)\]<=(\S+)", rest):
        return _grid(rows[2]).reshape(_numbers(rows[1]))[0]
    if mesh := _MESH.search(rest):
        axes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        sizes = [int(size) for size in axes.values()]
        grid = _grid(mesh[2] or f"[{math.prod(sizes)}]").reshape(sizes)
        taken = re.findall(r"'(\w+)'", mesh[3])
        return grid[tuple(slice(None) if axis in taken else 0 for axis in axes)]
    pairs = re.findall(r"\{(\d+),(\d+)\}", rest.partition("source_target_pairs=")[2])
    if not pairs:
        raise ValueError(f"the devices of a collective are unknown: {rest}")
    return np.array(max(pairs, key=lambda pair: abs(int(pair[0]) - int(pair[1]))), int)


def _grid(text: str) -> np.ndarray:
    """The grid [sizes]T(axes) of device numbers, its axes transposed."""
    match = re.match(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", text)
    assert match, text
    grid = np.arange(math.prod(_numbers(match[1]))).reshape(_numbers(match[1]))
    return grid.transpose(_numbers(match[2])) if match[2] else grid


def _extent(group: np.ndarray) -> tuple[int, int]:
    return group.size, int(np.ptp(group)) + 1


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]
