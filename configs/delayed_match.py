"""N-delayed match: is the last bit that of 1, 2 and 3 steps before? Three answers at the end.

Paper: Khajehabdollahi et al. 2023 (arXiv 2309.12927), with several heads.

  python -m experiments.launch --config=delayed_match:lstm/none --workdir=runs/delayed_match

Expected: accuracy 1.00 after half a minute on a core.

Chance level of accuracy: 1/2. Optimum: 1. Longer memories: --config.task.largest=8.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=delayed_match:RULE, or :MODEL/RULE."""
    return tracking.start(which, "delayed_match")
