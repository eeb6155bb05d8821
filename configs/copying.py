"""Copying across a delay that attention cannot bridge: the main job.

Paper: Chaudhary 2025 (arXiv 2510.21908), section on copying; the attention window, the learned
positions and these sizes are ours.

  python -m experiments.launch --config=copying --workdir=runs/copying
  python -m experiments.launch --config=copying:none --workdir=runs/copying-none

Expected recall_accuracy on 1024 test episodes, seed 0: 1.000 under the rules hebbian and gradient
(.12 with plasticity off), .125 without plasticity, which is the chance level. One to three
minutes on two CPU cores.
"""

from ml_collections import config_dict

from plasticity.configs import base


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=copying:RULE, or :MODEL/RULE."""
    config = base.start(which, "copying")
    config.task.loss_steps = "recall"

    if config.model.name == "transformer":
        # Per block: two blocks reach 12 steps back. A recalled symbol is 26 steps back.
        config.model.attention_window = 6
        config.model.position = "learned"

    config.train.steps = 800
    config.train.learning_rate = 2e-3
    return config
