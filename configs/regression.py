"""Few-shot regression (Chaudhary 2025, arXiv 2510.21908).

  python -m experiments.sweep --config=configs/regression.py --sweep=attention --workers=2
      --workdir=DIR   all of the table: 14 minutes on two CPU cores

Query MSE on 1024 test episodes, seed 0. Who knows nothing is at 4.0, who writes one outer product
at 1.254; the optimum is 0.

                     none     hebbian (off)     gradient (off)
  full attention     .045     .011 (.156)       .028 (.074)
  attention closed   3.90     .055 (3.93)       .079 (3.92)
"""

from ml_collections import config_dict

from configs import base


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=configs/regression.py:RULE, or :MODEL/RULE."""
    config = base.start(which)

    config.task = config_dict.ConfigDict()
    config.task.name = "regression"
    config.task.family = "linear"  # linear | mlp | sinusoid
    config.task.input_dim = 3
    config.task.k_support = 10  # pairs shown
    config.task.k_query = 10  # points asked
    config.task.weight_scale = 1.0
    config.task.bias_scale = 1.0
    config.task.noise = 0.0  # deviation of what is added to the values shown
    config.task.hidden = 8  # units of the family mlp
    config.task.standardise = False  # values of an episode have mean 0 and deviation 1
    config.task.order = "stream"  # queries follow one after the other | independent
    config.task.loss_steps = "query"  # query | all: the paper also trains the pairs

    config.train.steps = 3000
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 1000
    return config
