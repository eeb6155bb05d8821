r"""(abab)*: which symbol may come next? Trained on up to 50 symbols, tested on up to 100.

Paper: Bhattamishra et al. 2020 (arXiv 2009.11264), whose nets read up to 50 symbols as well.

  python -m experiments.launch --config=abab_star:delta --workdir=runs/abab_star \
      --config.model.mixer=memory --config.model.plastic=none --config.site.rate_limit=2

Expected: string_accuracy 1.00, with plasticity off 0; some six minutes on a core.

Chance level of string_accuracy: 1/4: it is guessed at which of four steps a string begins.
Optimum: 1. --config=abab_star:lstm/none trains an LSTM.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=abab_star:RULE, or :MODEL/RULE."""
    return tracking.start(which, "abab_star")
