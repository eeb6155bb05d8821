"""Working memory: lists and displays of up to six symbols, an interval, queries.

Paper: Sikarwar and Zhang 2023 (arXiv 2307.10768).

  python -m experiments.launch --config=working_memory:TASK/RULE --workdir=DIR
  python -m experiments.launch --config=working_memory:serial_recall/hebbian --workdir=runs/serial

TASK is change_detection, recognition, serial_recall, free_recall, updating or complex_span.
Attention is closed, so that only fast weights remember.

Expected: accuracy 1.00 and at chance with plasticity off, after one minute on a core; but .51 in
change_detection, which is not yet learned then.

Chance level of accuracy: 1/2 in the first two, 6/16 in free_recall, else 1/16. A finished run
tells what a list of four or a longer interval costs: --mode=evaluate --config.task.test_items=4,
--config.task.test_interval=16.
"""

from ml_collections import config_dict

from plasticity.configs import closed
from plasticity.registry import lookup
from plasticity.tasks.working_memory import WORKING_MEMORY


def get_config(which: str = "serial_recall/hebbian") -> config_dict.ConfigDict:
    """The config for a task: --config=working_memory:TASK/RULE, or :TASK/MODEL/RULE."""
    task, _, rest = which.partition("/")
    lookup(WORKING_MEMORY, task, "the task behind the colon of --config")
    return closed.start(rest or "hebbian", task)
