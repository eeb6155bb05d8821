"""Fast mapping: words for objects, each bound once, asked in either direction.

Paper: Hill et al. 2021 (arXiv 2009.01719).

  python -m experiments.launch --config=fast_mapping:hebbian --workdir=runs/fast_mapping

Expected: accuracy 1.00, with plasticity off .11; a minute and a half on a core.

Up to 4 objects in training, 6 in the test; attention is closed, so that only fast weights
remember. Chance level of accuracy: 1/8. Optimum: 1.
"""

from ml_collections import config_dict

from plasticity.configs import closed


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=fast_mapping:RULE, or :MODEL/RULE."""
    return closed.start(which, "fast_mapping")
