"""N-parity: of the last 2, 3 and 4 bits of a stream, three answers at its end.

Paper: Khajehabdollahi et al. 2023 (arXiv 2309.12927), with several heads.

  python -m experiments.launch --config=n_parity:lstm/none --workdir=runs/n_parity

Expected: accuracy 1.00 after half a minute on a core.

Chance level of accuracy: 1/2 (with --config.task.biased=True, as published, .589). Optimum: 1.
Longer memories: --config.task.horizons=2,3,4,5,6,7,8.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=n_parity:RULE, or :MODEL/RULE."""
    return tracking.start(which, "n_parity")
