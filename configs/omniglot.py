"""Omniglot, 5 ways, 1 shot: configs/few_shot.py with its images."""

from ml_collections import config_dict

from configs import few_shot


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=configs/omniglot.py:RULE, or :MODEL/RULE."""
    return few_shot.get_config(which, "omniglot")
