"""Rewriting: eight keys, each written four times; the last value counts.

Idea: Schlag et al. 2021 (arXiv 2102.11174), section 6.1.

  python -m experiments.launch --config=rewriting:gated_delta --workdir=runs/rewriting
  python -m experiments.launch --config=rewriting:hebb --workdir=runs/rewriting-hebb

Expected: query_accuracy 1.00 under gated_delta (plasticity off: .04) and .84 under hebb, with .07
stale; some six minutes on a core.

Chance level of query_accuracy: 1/32; 1/4 is that of a net which answers with any value of the key,
and then `stale` is 3/4. Optimum: 1, and `stale` 0.
"""

from ml_collections import config_dict

from plasticity.configs import base


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=rewriting:RULE, or :MODEL/RULE."""
    config = base.start(which, "rewriting")
    config.train.steps = 2000
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 1000
    return config
