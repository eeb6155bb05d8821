"""Fast-weight memories. An engine is one file here and one line in `ENGINES`."""

from plasticity.memory.dense import dense

ENGINES = {"dense": dense}
