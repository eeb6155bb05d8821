"""Shared by the configs of tasks whose nets must hold a state: training that suits all of them."""

from ml_collections import config_dict

from plasticity.configs import base


def start(which: str, task: str) -> config_dict.ConfigDict:
    """The config from which these tasks start; arguments: see `base.start`."""
    config = base.start(which, task)
    config.train.steps = 3000
    config.train.learning_rate = 3e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 1000
    return config
