"""The work of a compiled program on each device, read from its text.

XLA's own cost analysis counts the body of a loop once and does not count communication. Here a loop
counts as often as it runs.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "token": 0}
COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([a-z][\w-]*)\((.*)$")
_SHAPE = re.compile(r"([a-z]\w*)\[([\d,]*)\]")
_MESH = re.compile(r"replica_groups=mesh\[(.*?)\](?:, device_ids=\((.*?)\))? \{(.*?)\}")
_CALLED = re.compile(r"(?:calls|to_apply|body|branch_computations)=\{?(%[\w.-]+(?:, %[\w.-]+)*)")


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of one device in one execution.

    Attributes:
      products: operations of matrix products.
      moved: bytes that these read and write, if no operand stays in a cache.
      sent: {(collective, devices in its group, span of their numbers): bytes of its results}. A
        group of the devices 0 and 4 has 2 devices and spans 5 numbers.
    """

    products: float = 0.0
    moved: float = 0.0
    sent: Mapping[tuple[str, int, int], float] = dataclasses.field(default_factory=dict)

    def __add__(self, other: "Work") -> "Work":
        keys = self.sent.keys() | other.sent.keys()
        sent = {key: self.sent.get(key, 0) + other.sent.get(key, 0) for key in keys}
        return Work(self.products + other.products, self.moved + other.moved, sent)

    def times(self, count: float) -> "Work":
        """The work of `count` executions."""
        sent = {key: count * size for key, size in self.sent.items()}
        return Work(self.products * count, self.moved * count, sent)


def work_of(text: str) -> Work:
    """The work of a compiled program.

    Args:
      text: `compiled.as_text()`, after partitioning: shapes are those of one device.

    Raises:
      ValueError: a loop has no known length, or the program was not compiled for a CPU.
    """
    computations, entry = _computations(text)
    done: dict[str, Work] = {}

    def of(name: str) -> Work:
        if name not in done:
            shapes: dict[str, str] = {}
            total = Work()
            for line in computations[name]:
                total += _line(line, shapes, of)
            done[name] = total
        return done[name]

    return of(entry)


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    found: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        if start := _COMPUTATION.match(line):
            name = start.group(1)
            found[name] = []
            entry = name if line.startswith("ENTRY") else entry
        elif name:
            found[name].append(line)
    if not entry:
        raise ValueError("this is not the text of a compiled program: it has no ENTRY")
    return found, entry


def _line(line: str, shapes: dict[str, str], of: Callable[[str], Work]) -> Work:
    match = _INSTRUCTION.match(line)
    if not match:
        return Work()
    name, shape, operation, rest = match.groups()
    shapes[name] = shape
    if operation == "dot":
        return _product(shape, rest, shapes)
    if operation in COLLECTIVES:
        return Work(sent={(operation, *_group(rest)): float(_bytes(shape))})
    if operation.endswith("-start"):  # not of a CPU; its shape holds operands as well as results
        raise ValueError(f"{operation} cannot be counted: compile for a CPU")
    inner = Work()
    if operation in ("fusion", "call", "while", "conditional"):
        for called in _called(rest):
            inner += of(called)
    return inner.times(_trips(rest, name)) if operation == "while" else inner


def _called(rest: str) -> Iterator[str]:
    for match in _CALLED.finditer(rest):
        for name in match.group(1).split(","):
            yield name.strip().lstrip("%")


def _trips(rest: str, name: str) -> int:
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', rest)
    if not known:
        raise ValueError(f"the loop {name} has no known length")
    return int(known.group(1))


def _product(shape: str, rest: str, shapes: Mapping[str, str]) -> Work:
    left, right = (shapes[name] for name in re.findall(r"%([\w.-]+)", rest)[:2])
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
    assert contracted, rest
    inner = [_sizes(left)[axis] for axis in _numbers(contracted.group(1))]
    moved = _bytes(left) + _bytes(right) + _bytes(shape)
    return Work(2.0 * math.prod(_sizes(shape)) * math.prod(inner), float(moved))


def _sizes(shape: str) -> list[int]:
    match = _SHAPE.search(shape)
    assert match, shape
    return _numbers(match.group(2))


def _bytes(shape: str) -> int:
    return sum(BYTES[kind] * math.prod(_numbers(sizes)) for kind, sizes in _SHAPE.findall(shape))


def _group(rest: str) -> tuple[int, int]:
    """(devices, span of their numbers) of the first group of a collective.

    XLA writes the groups in one of three forms, here for the groups {0, 4} and {1, 5} and so on:

      replica_groups={{0,4},{1,5},{2,6},{3,7}}          every group
      replica_groups=[4,2]<=[2,4]T(1,0)                 [groups, size] of a transposed grid
      replica_groups=mesh['a'=2,'b'=4] {'a'}            the axes of a mesh along which it runs
    """
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
        return _extent(np.array(_numbers(listed.group(1))))
    if rows := re.search(r"replica_groups=\[([\d,]+)\]<=(\S+)", rest):
        return _extent(_grid(rows.group(2)).reshape(_numbers(rows.group(1)))[0])
    if mesh := _MESH.search(rest):
        axes = dict(re.findall(r"'(\w+)'=(\d+)", mesh.group(1)))
        sizes = [int(size) for size in axes.values()]
        grid = _grid(mesh.group(2) or f"[{math.prod(sizes)}]").reshape(sizes)
        taken = re.findall(r"'(\w+)'", mesh.group(3))
        first = tuple(slice(None) if axis in taken else 0 for axis in axes)
        return _extent(grid[first])
    if pairs := re.findall(r"\{(\d+),(\d+)\}", rest.partition("source_target_pairs=")[2]):
        return 2, max(abs(int(a) - int(b)) for a, b in pairs) + 1
    raise ValueError(f"the devices of a collective are unknown: {rest}")


def _grid(text: str) -> np.ndarray:
    """The grid [sizes]T(axes) of device numbers, its axes transposed."""
    match = re.match(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", text)
    assert match, text
    sizes, axes = match.groups()
    grid = np.arange(math.prod(_numbers(sizes))).reshape(_numbers(sizes))
    return grid.transpose(_numbers(axes)) if axes else grid


def _extent(group: np.ndarray) -> tuple[int, int]:
    return group.size, int(group.max() - group.min()) + 1


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]
