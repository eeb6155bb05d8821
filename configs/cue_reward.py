"""Cue-reward association.

Paper: Chaudhary 2025 (arXiv 2510.21908), section on cue-reward association.

  python -m experiments.launch --config=cue_reward:hebbian --workdir=runs/cue-reward
      [--config.model.attention_window=-1]   closed: fast weights are the only memory

  python -m experiments.sweep --config=cue_reward --sweep=attention --workers=2
      --workdir=DIR   all of the table: six minutes on two CPU cores

Query MSE on 1024 test episodes, seed 0, and with plasticity off. Predicting the mean scores .083;
the optimum is 0.

                     none     hebbian (off)      gradient (off)
  full attention     3.4e-5   2.6e-5 (2.8e-4)    4.4e-5 (4.7e-4)
  attention closed   .083     6.2e-5 (.086)      4.6e-5 (.090)
"""

from ml_collections import config_dict

from plasticity.configs import base


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=cue_reward:RULE, or :MODEL/RULE."""
    config = base.start(which, "cue_reward")
    config.train.steps = 1500
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 500
    return config
