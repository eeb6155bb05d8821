"""Fast-weight memories. An engine is one file here and one line in `ENGINES`.

`ENGINES`: {name: factory(chunk) -> Memory}; what `chunk` means is said by the factory.
"""

from plasticity.memory.choice import choose, chunk_for
from plasticity.memory.chunked import chunked
from plasticity.memory.dense import dense
from plasticity.memory.factored import factored
from plasticity.memory.history import advance, append, replay, trace_after

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
    "trace_after",
]
