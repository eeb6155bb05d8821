"""Arithmetic modulo 5 without brackets: trained on up to 40 symbols, tested on up to 256.

Paper: Grazzi et al. 2024 (arXiv 2411.12537), section 5.1.

  python -m experiments.launch --config=modular:lstm/none --workdir=runs/modular

Expected: a long training. The published nets need 5 million episodes; after 320,000 a delta memory
is at chance (docs/results/state-and-recall.md).

Chance level of accuracy: 1/5.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=modular:RULE, or :MODEL/RULE."""
    return tracking.start(which, "modular")
