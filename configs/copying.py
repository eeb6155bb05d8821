"""Copying across a delay that attention cannot bridge: the main job.

Paper: Chaudhary 2025 (arXiv 2510.21908), section on copying; the window, learned positions and
these sizes are ours.

  python -m experiments.launch --config=configs/copying.py --workdir=runs/copying
  python -m experiments.launch --config=configs/copying.py:none --workdir=runs/copying-none

Expected `recall_accuracy`: see README.md. Chance is .125.
"""

from ml_collections import config_dict

from configs import base


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=configs/copying.py:RULE, or :MODEL/RULE."""
    config = base.start(which)

    config.task = config_dict.ConfigDict()
    config.task.name = "copying"
    config.task.seq_length = 5  # symbols to remember
    config.task.delay = 20  # blanks between the last symbol and the delimiter
    config.task.vocabulary = 10  # blank and delimiter included
    config.task.content = "symbols"  # symbols | reals, numbers between -1 and 1
    config.task.loss_steps = "recall"  # recall | all: the paper also trains the blanks

    if config.model.name == "transformer":
        # Per block, so two reach back 12 steps; a recalled symbol is 26 back.
        config.model.attention_window = 6
        config.model.position = "learned"

    config.train.steps = 800
    config.train.learning_rate = 2e-3
    return config
