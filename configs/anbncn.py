"""a^n b^n c^n: which symbol may come next? Trained on up to 50 symbols, tested on 52 to 100.

Paper: Bhattamishra et al. 2020 (arXiv 2009.11264), whose nets read up to 50 symbols as well.

  python -m experiments.launch --config=anbncn:lstm/none --workdir=runs/anbncn

Expected: string_accuracy .29 and step_accuracy .97 after one minute on a core: not yet learned.

Chance level of string_accuracy: 1/17, that of a net that guesses n. Optimum: 1.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=anbncn:RULE, or :MODEL/RULE."""
    return tracking.start(which, "anbncn")
