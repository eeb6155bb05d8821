"""The six tasks of MAD, in the published sizes of vocabulary and length.

Paper: Poli et al. 2024 (arXiv 2403.17844), which trains 20,000 steps with batches of 128 and nets
of width 128; these nets are smaller.

  python -m experiments.launch --config=mad:TASK/RULE --workdir=DIR
  python -m experiments.launch --config=mad:recall/gated_delta --workdir=runs/mad-recall

TASK is recall, noisy_recall, fuzzy_recall, copying, compression or memorisation; for an RNN or LSTM
--config=mad:TASK/MODEL/RULE.

Expected under gated_delta, with plasticity off in brackets, 10 to 30 minutes each on a core:
accuracy 1.00 (.13) in recall and noisy_recall, .99 (.07) in copying, .61 (.13) in fuzzy_recall,
which is not yet learned. Of :TASK/none with --config.model.position=learned, one minute each:
memorisation 1.00, compression .56, not yet learned.

Chance level of accuracy: 1/8 in the three recall tasks, 1/14 in copying, 1/15 in compression, 1/127
in memorisation. Optimum: 1.
"""

from ml_collections import config_dict

from plasticity.configs import base
from plasticity.configs.fields import set_fields
from plasticity.registry import lookup

# {TASK: name of the task}
TASKS = {
    name: f"mad_{name}"
    for name in (
        *("recall", "noisy_recall", "fuzzy_recall"),
        *("copying", "compression", "memorisation"),
    )
}


def get_config(which: str = "recall/hebbian") -> config_dict.ConfigDict:
    """The config for a task and a rule: --config=mad:TASK/RULE, or :TASK/MODEL/RULE."""
    task, _, network = which.partition("/")
    name = lookup(TASKS, task, "TASK of --config=mad:TASK/RULE")
    config = base.start(network or "hebbian", name)
    # The gradient rule's whole P would be large where an answer has many scores.
    set_fields(config, {"rule.projection": "elementwise"})
    config.train.steps = 2000
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 1000
    return config
