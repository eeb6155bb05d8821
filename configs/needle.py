"""Needle in a haystack: trained on 64 tokens, tested on 256.

Idea: Kamradt 2023; Hsieh et al. 2024 (arXiv 2404.06654).

  python -m experiments.launch --config=needle:gated_delta --workdir=runs/needle

Expected: accuracy .98 (early .97, middle .98, late .99), with plasticity off .03; some ten minutes
on a core.

Chance level of accuracy: 1/32; 1/8 is that of a net which has learned which tokens are values.
Optimum: 1. Other lengths: --mode=evaluate --config.task.test_steps=1024. Fewer than three needles
have no metrics by depth: --mode=evaluate --config.task.depth=early, middle, late.
"""

from ml_collections import config_dict

from plasticity.configs import base


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=needle:RULE, or :MODEL/RULE."""
    config = base.start(which, "needle")
    config.train.steps = 2000
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 1000
    return config
