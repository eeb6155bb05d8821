"""CIFAR-FS, 5 ways, 1 shot: configs/few_shot.py with its images."""

from ml_collections import config_dict

from configs import few_shot


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=configs/cifar_fs.py:RULE, or :MODEL/RULE."""
    config = few_shot.get_config(which, "cifar_fs")
    config.task.flip = True
    config.task.crop = 4
    config.task.jitter = 0.2
    return config
