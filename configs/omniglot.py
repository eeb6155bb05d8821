"""Omniglot, 5 ways, 1 shot: few-shot classification of drawn characters.

Paper: Chaudhary 2025 (arXiv 2510.21908), with the split of Vinyals et al. 2016.

  python -m experiments.launch --config=omniglot:hebbian --workdir=runs/omniglot
      --config.task.features=omniglot.npz   features of a frozen encoder, see configs/encoder.py

Expected accuracy with features, three seeds: .977 with attention closed under the rule hebbian
(.201 with plasticity off). The chance level is .2. The sweep `shots` over three seeds takes 24
minutes on two CPU cores.
"""

from ml_collections import config_dict

from plasticity.configs import few_shot


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=omniglot:RULE, or :MODEL/RULE."""
    return few_shot.get_config(which, "omniglot")
