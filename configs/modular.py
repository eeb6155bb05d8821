"""Arithmetic modulo 5 without brackets: trained on up to 40 symbols, tested on up to 256.

Paper: Grazzi et al. 2024 (arXiv 2411.12537), section 5.1.

  python -m experiments.launch --config=modular:lstm/none --workdir=runs/modular

Expected: a long training. After 5 million episodes, 13 minutes on an H100, a delta memory is right
on the lengths of training, and on longer ones .26 on a scale from chance (0) to 1; after 320,000 it
is at chance (docs/results/state-and-recall.md).

Chance level of accuracy: 1/5.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=modular:RULE, or :MODEL/RULE."""
    return tracking.start(which, "modular")
