r"""(aa)*: may the string end here? Trained on up to 50 symbols, tested on up to 100.

Paper: Bhattamishra et al. 2020 (arXiv 2009.11264), whose nets read up to 50 symbols as well.

  python -m experiments.launch --config=aa_star:delta --workdir=runs/aa_star \
      --config.model.mixer=memory --config.model.plastic=none --config.site.rate_limit=2

Expected: string_accuracy 1.00, with plasticity off 0; some four minutes on a core.

Chance level of string_accuracy: 1/2: it is guessed at which of two steps a string begins.
Optimum: 1. --config=aa_star:lstm/none trains an LSTM.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=aa_star:RULE, or :MODEL/RULE."""
    return tracking.start(which, "aa_star")
