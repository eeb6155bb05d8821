"""What and when: which outcome follows a cue, after how long, and how surely.

Paper: Yamada and Chao 2025 (arXiv 2510.14382).

  python -m experiments.launch --config=what_and_when:gradient --workdir=runs/what_and_when

Expected: skill .97 under the gradient rule and .96 under the Hebbian one, hit .99 (gradient, with
plasticity off: -.32 and .26); some ten minutes on a core.

Attention is closed, so that only fast weights remember. Chance level of skill: 0. Optimum: below 1.
"""

from ml_collections import config_dict

from plasticity.configs import closed


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=what_and_when:RULE, or :MODEL/RULE."""
    config = closed.start(which, "what_and_when")
    config.train.steps = 1000
    config.train.batch = 32
    return config
