"""The text of a compiled program (`compiled.as_text()`), as a list of the operations that run.

It reads what XLA writes for CPUs, GPUs and TPUs. Shapes are those of one device.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \([^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([a-z][\w-]*)\((.*)$")
# f32[8,3]{1,0:T(8,128)S(1)}, f8e4m3[2], pred[]: type, sizes, axes from minor to major, tile
_SHAPE = re.compile(r"([a-z]+(\d*)\w*)\[([\d,]*)\](?:\{([\d,]*)(?::T\(([\d,]+)\))?)?")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|branch_computations|true_computation|false_computation)="
    r"\{?(%[\w.-]+(?:, %[\w.-]+)*)"
)
# Of a dot, and of a call of cuBLAS: lhs_contracting_dims={1}, "lhs_contracting_dimensions":["1"]
_CONTRACTED = re.compile(
    r'lhs_contracting_dims=\{([\d,]*)\}|"lhs_contracting_dimensions":\[(["\d,]*)\]'
)
CUBLAS = 'custom_call_target="__cublas'
_CALLS = {"fusion", "call", "while", "conditional", "async-start"}
_INSIDE = {"fusion", "async-start"}  # what they call is one operation


class Operation(NamedTuple):
    """An operation, and the loops that it is in."""

    kind: str  # such as "dot", or "all-reduce-start"
    shape: str  # of the result, as in the text
    operands: tuple[str, ...]  # their shapes
    attributes: str
    loops: tuple[int, ...]  # how often each loop around it runs, the outermost first
    fused: bool  # whether it is part of another operation

    @property
    def times(self) -> int:
        """How often it runs."""
        return math.prod(self.loops)


def operations(text: str) -> Iterator[Operation]:
    """All operations of a program; those of a computation that is called twice, twice.

    Raises:
      ValueError: a loop has no known length, or this is not the text of a compiled program.
    """
    bodies, entry = {}, ""
    for first, name, body in _COMPUTATION.findall(text):
        bodies[name] = [
            match.groups() for match in map(_INSTRUCTION.match, body.splitlines()) if match
        ]
        entry = name if first else entry
    if not entry:
        raise ValueError("this is not the text of a compiled program: it has no ENTRY")

    def of(name: str, loops: tuple[int, ...], fused: bool) -> Iterator[Operation]:
        shapes: dict[str, str] = {}
        for own, shape, kind, rest in bodies[name]:
            shapes[own] = shape
            given, _, attributes = rest.partition(")")
            operands = [shapes[n] for n in re.findall(r"%([\w.-]+)", given) if n in shapes]
            yield Operation(kind, shape, tuple(operands), attributes, loops, fused)
            if kind in _CALLS:
                within = (*loops, _length(own, rest, bodies)) if kind == "while" else loops
                for called in _CALLED.finditer(attributes):
                    for other in called[1].split(","):
                        yield from of(other.strip(" %"), within, fused or kind in _INSIDE)

    yield from of(entry, (), False)


def _length(name: str, rest: str, bodies: Mapping[str, list]) -> int:
    """How often a loop runs.

    XLA says so for CPUs and GPUs. For TPUs the condition does: `counter < length`, from 0 on.
    """
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', rest):
        return int(known[1])
    condition = re.search(r"condition=%([\w.-]+)", rest)
    numbers, bounds = {}, set()
    for own, _, kind, operands in bodies[condition[1]] if condition else ():
        if kind == "constant" and (number := re.match(r"(\d+)\)", operands)):
            numbers[own] = int(number[1])
        elif kind == "compare" and "direction=LT" in operands:
            bounds |= set(re.findall(r"%([\w.-]+)", operands.partition(")")[0])[1:])
    found = [numbers[bound] for bound in bounds if bound in numbers]
    if len(found) != 1:
        raise ValueError(f"the loop {name} has no known length")
    return found[0]


def sizes(shape: str) -> list[int]:
    """The sizes of an array."""
    match = _SHAPE.search(shape)
    assert match, shape
    return numbers(match[3])


def size_in_bytes(shape: str) -> float:
    """Bytes of an array, or of all arrays of a tuple."""
    found = _SHAPE.findall(shape)
    return sum(int(bits or 8) / 8 * math.prod(numbers(each)) for _, bits, each, _, _ in found)


def padded_bytes(shape: str) -> float:
    """The same with the padding of a TPU, where the last axes in memory fill whole tiles."""
    total = 0.0
    for _, bits, each, order, tile in _SHAPE.findall(shape):
        axes, tiles = numbers(each), numbers(tile)
        in_memory = [axes[axis] for axis in reversed(numbers(order))] or axes
        in_memory = [1] * (len(tiles) - len(in_memory)) + in_memory
        for place, side in enumerate(tiles, start=len(in_memory) - len(tiles)):
            in_memory[place] = -(-in_memory[place] // side) * side
        total += int(bits or 8) / 8 * math.prod(in_memory)
    return total


def multiplications(operation: Operation) -> float:
    """Multiplications of a product, a convolution or a call of cuBLAS; products may be any."""
    left, right = map(sizes, operation.operands[:2])
    result = sizes(operation.shape)
    if operation.kind != "convolution":
        contracted = _CONTRACTED.search(operation.attributes)
        assert contracted, operation
        axes = numbers((contracted[1] or contracted[2] or "").replace('"', ""))
        return math.prod(result) * math.prod(left[axis] for axis in axes)
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", operation.attributes)
    assert labels, operation
    of_left, of_right, of_result = (
        dict(zip(names, each, strict=True))
        for names, each in zip(labels.groups(), (left, right, result), strict=True)
    )
    groups = re.search(r"batch_group_count=(\d+)", operation.attributes)
    total = of_left["b"] * of_right["i"] * of_right["o"] / (int(groups[1]) if groups else 1)
    spatial = sorted(set(labels[1]) - {"b", "f"})
    for place, axis in enumerate(spatial):
        sides = of_left[axis], of_right[axis], of_result[axis]
        total *= _taps(*sides, *_window(operation.attributes, place))
    return total


def _window(attributes: str, axis: int) -> tuple[int, int, int, int]:
    """Stride, padding before, and dilations of left and right, of a spatial axis."""
    window = re.search(r"window=\{(.*?)\}", attributes)
    given = dict(re.findall(r"(\w+)=(\S+)", window[1] if window else ""))

    def of(name: str, default: str) -> int:
        return int(given[name].split("x")[axis].split("_")[0]) if name in given else int(default)

    return of("stride", "1"), of("pad", "0"), of("lhs_dilate", "1"), of("rhs_dilate", "1")


def _taps(
    left: int, right: int, result: int, stride: int, pad: int, dilate: int, apart: int
) -> int:
    """How many pairs of a window's place and a position in it lie on a number, not on padding."""
    place = np.arange(result)[:, None] * stride + np.arange(right) * apart - pad
    return int(((place >= 0) & (place <= (left - 1) * dilate) & (place % dilate == 0)).sum())


def numbers(text: str) -> list[int]:
    """Numbers between commas."""
    return [int(number) for number in text.split(",") if number]
