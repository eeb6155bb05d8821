"""Which engine is fastest, by a cost model with few constants.

Costs are bytes moved in a training step, per step of the episode, summed over layers; arithmetic
counts as the bytes that the device could have moved meanwhile. A row of a history is read by the
walk in time and, with its adjoint, several times by the walk back; with alpha per synapse it also
takes part in four matrix products of 2 O I operations. A matrix is read, updated and
differentiated. The constants were fitted by eye to timings on a two-core CPU, and a test compares
the choice with those timings. The constants of GPU and TPU scale arithmetic by the ratio in their
data sheets; no measurement has confirmed them.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from plasticity.types import LayerShape

FLOAT_BYTES = 4
ROW_PASSES = 6  # times that the I + O numbers of a row move
ROW_PRODUCTS = 4  # with alpha per synapse: products of 2 O I operations for each row
MATRIX_PASSES = 12  # times that the O I numbers of a matrix move
CACHED = 0.5  # what a pass costs while the matrices of all episodes fit into the cache of a device
CACHE = {"cpu": 8e6, "gpu": 50e6, "tpu": 100e6}  # bytes
BALANCE = {"cpu": 4.0, "gpu": 20.0, "tpu": 100.0}  # operations in the time of one byte
BLOCKS = 4  # a history of full length reads twice what it holds on average; in 4 blocks 1.25 times
# Steps: shorter ones spare less than a loop costs, and each is compiled. Rows that take part in
# products, with alpha per synapse, are dearer.
SHORTEST_BLOCK = {False: 16, True: 8}
LARGE_LAYER = 2**14  # synapses from which blocks are worth compiling each for itself
SHORTEST_CHUNK, LONGEST_CHUNK = 8, 32
DENSE_WHOLE = 64  # steps up to which the dense engine keeps every matrix


class Choice(NamedTuple):
    """An engine and its chunk, with the estimated cost of each engine, in bytes per step."""

    engine: str  # its name
    chunk: int  # in steps; 0: the whole episode
    costs: dict[str, float]  # {engine: estimated bytes per step}


def choose(
    shapes: Iterable[LayerShape],
    steps: int,
    *,
    per_synapse: bool,
    platform: str,
    episodes: int | None = None,
) -> Choice:
    """The engine and chunk for episodes of T `steps`.

    Args:
      shapes: the plastic layers.
      steps: T.
      per_synapse: whether alpha is a full matrix.
      platform: "cpu", "gpu" or "tpu", as JAX calls it; any other counts as a GPU.
      episodes: those that a device differentiates at once; None: many.
    """
    shapes = list(shapes)
    chunks = {n: chunk_for(n, shapes, steps, per_synapse) for n in ("factored", "chunked")}
    row = sum(_row_cost(shape, per_synapse, platform) for shape in shapes)
    held = sum(FLOAT_BYTES * s.outputs * s.inputs for s in shapes)
    cached = episodes is not None and episodes * held <= CACHE.get(platform, CACHE["gpu"])
    matrix = MATRIX_PASSES * held * (CACHED if cached else 1)
    block = chunks["factored"] or steps
    costs = {
        "factored": row * (steps + block) / 2,  # half the rows, and blanks of the present block
        "chunked": row * chunks["chunked"] + matrix,
    }
    engine = min(costs, key=lambda name: costs[name])
    return Choice(engine, chunks[engine], costs)


def chunk_for(
    engine: str, shapes: Iterable[LayerShape], steps: int, per_synapse: bool = False
) -> int:
    """The chunk that suits an engine; the factories of the engines document its meaning."""
    if engine == "factored":
        large = max((s.outputs * s.inputs for s in shapes), default=0) >= LARGE_LAYER
        blocks = min(BLOCKS, -(-steps // SHORTEST_BLOCK[per_synapse]))
        return -(-steps // blocks) if large and blocks > 1 else 0
    root = 2 ** round(math.log2(steps) / 2)  # sqrt(T): as many matrices as rows between them
    if engine == "dense":
        return root if steps > DENSE_WHOLE else 0
    return min(max(root, SHORTEST_CHUNK), LONGEST_CHUNK)


def _row_cost(shape: LayerShape, per_synapse: bool, platform: str) -> float:
    moved = ROW_PASSES * FLOAT_BYTES * (shape.outputs + shape.inputs)
    if not per_synapse:
        return moved
    operations = ROW_PRODUCTS * 2 * shape.outputs * shape.inputs
    return moved + operations / BALANCE.get(platform, BALANCE["gpu"])
