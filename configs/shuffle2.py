"""Shuffle-2, two types of brackets: which may come next? Tested on 52 to 100 symbols.

Paper: Bhattamishra et al. 2020 (arXiv 2009.11264), whose nets read up to 50 symbols as well.

  python -m experiments.launch --config=shuffle2:lstm/none --workdir=runs/shuffle2

Expected: step_accuracy .999 and string_accuracy .96 after two minutes on a core.

Chance level of step_accuracy: .394, that of the most frequent set at each step. Optimum: 1.
string_accuracy is published: strings without any error.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=shuffle2:RULE, or :MODEL/RULE."""
    return tracking.start(which, "shuffle2")
