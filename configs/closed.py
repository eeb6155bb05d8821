"""Shared by the configs of tasks with attention closed: only fast weights can remember."""

from ml_collections import config_dict

from plasticity.configs import base


def start(which: str, task: str) -> config_dict.ConfigDict:
    """The config from which these tasks start; arguments: see `base.start`."""
    config = base.start(which, task)
    if config.model.name == "transformer":
        config.model.attention_window = -1
    config.train.steps = 1500
    config.train.learning_rate = 3e-3
    config.train.schedule = "cosine"
    config.evaluate.every = 500
    return config
