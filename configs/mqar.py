r"""Multi-query associative recall, in the smallest published size: 4 pairs in 64 tokens.

Paper: Arora et al. 2023 (arXiv 2312.04927); these nets are smaller, and see new episodes only.

  python -m experiments.launch --config=mqar:delta --workdir=runs/mqar --config.model.mixer=memory \
      --config.model.plastic=none --config.task.vocabulary=512 --config.model.width=32 \
      --config.train.batch=32 --config.train.steps=4000

Expected: query_accuracy .97, with plasticity off at chance; some five minutes on a core. Widths and
other rules: docs/results/state-and-recall.md.

Chance level of query_accuracy: 1/256, and 1/4096 with the 8,192 tokens that are the default, as
published, and ten times as slow; 1/4 is that of a net which has learned which tokens are the values
of the episode. The other sizes: --config.task.steps=128 --config.task.pairs=8, 256 and 16, 512 and
64.
"""

from ml_collections import config_dict

from plasticity.configs import base
from plasticity.configs.fields import set_fields


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=mqar:RULE, or :MODEL/RULE."""
    config = base.start(which, "mqar")
    # The gradient rule's whole P would be a matrix [V, V].
    set_fields(config, {"rule.projection": "elementwise"})
    if config.model.name == "transformer":
        config.model.tied = True  # as published
    config.train.steps = 3000
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 1000
    return config
