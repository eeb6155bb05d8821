r"""Parity: trained on sequences of up to 40 symbols, tested on up to 256.

Paper: Grazzi et al. 2024 (arXiv 2411.12537), section 5.1; its code trains 20,000 steps with batches
of 256.

  python -m experiments.launch --config=parity:delta --workdir=runs/parity \
      --config.model.mixer=memory --config.model.plastic=none --config.site.rate_limit=2 \
      --config.model.width=64 --config.train.steps=2500

Expected: accuracy 1.00 within .003 (three seeds; some ten minutes of a core a seed); at chance with
site.rate_limit=1, and for `none`. --config=parity:lstm/none trains an LSTM.

Chance level of accuracy: 1/2. A net without position embeddings has no last position.
"""

from ml_collections import config_dict

from plasticity.configs import tracking


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=parity:RULE, or :MODEL/RULE."""
    return tracking.start(which, "parity")
