"""Few-shot regression.

Paper: Chaudhary 2025 (arXiv 2510.21908), section on few-shot regression.

  python -m experiments.launch --config=regression:hebbian --workdir=runs/regression

  python -m experiments.sweep --config=regression --sweep=attention --workers=2
      --workdir=DIR   all of the table: 14 minutes on two CPU cores

Query MSE on 1024 test episodes, seed 0, and with plasticity off. Predicting the mean scores 4.0, a
single outer product 1.241; the optimum is 0.

                     none     hebbian (off)     gradient (off)
  full attention     .045     .011 (.156)       .024 (.086)
  attention closed   3.90     .055 (3.93)       .061 (3.92)
"""

from ml_collections import config_dict

from plasticity.configs import base


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=regression:RULE, or :MODEL/RULE."""
    config = base.start(which, "regression")
    config.train.steps = 3000
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 1000
    return config
