"""Tasks. One is a file here, a line in `TASKS` (factory(**config.task) -> Task) and a config."""

from plasticity.tasks.copying import copying

TASKS = {"copying": copying}
