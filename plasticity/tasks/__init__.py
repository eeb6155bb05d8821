"""Tasks. One is a file here, a line in `TASKS` (factory(**config.task) -> Task) and a config."""

from plasticity.tasks.copying import copying
from plasticity.tasks.few_shot import few_shot

TASKS = {"copying": copying, "few_shot": few_shot}
