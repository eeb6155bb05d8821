"""Fast-weight memories. An engine is one file here and one line in `ENGINES`.

`ENGINES`: {name: factory(chunk, form) -> Memory}, for writes of a form (`Rule.form`); each factory
documents its `chunk`. The engines agree to rounding, and refuse wrong arguments, and forms that
they cannot express, with a ValueError. One episode with any of them:

  state = memory.open(memory.init(shape, jnp.float32), shape, slots)
  recalled = memory.read(state, synapse, x)             the fast part of a layer's output, [O]
  state = advance(memory, state, write, slot)           slot 0, 1, ..., slots - 1
  base = memory.close(state)                            to open again for more writes

A state keeps its type: coefficients and writes of another type are converted when they are applied.
"""

from plasticity.memory.choice import choose, chunk_for
from plasticity.memory.chunked import chunked
from plasticity.memory.dense import dense
from plasticity.memory.factored import factored
from plasticity.memory.history import advance, append, replay, silenced, trace_after

ENGINES = {"dense": dense, "factored": factored, "chunked": chunked}

__all__ = [
    "ENGINES",
    "advance",
    "append",
    "choose",
    "chunk_for",
    "chunked",
    "dense",
    "factored",
    "replay",
    "silenced",
    "trace_after",
]
