"""CIFAR-FS, 5 ways, 1 shot: few-shot classification of photographs.

Paper: Chaudhary 2025 (arXiv 2510.21908), with the split of Bertinetto et al. 2019.

  python -m experiments.launch --config=cifar_fs:hebbian --workdir=runs/cifar-fs
      --config.task.features=cifar_fs.npz   features of a frozen encoder, see configs/encoder.py

Expected accuracy with features, three seeds: .577 with full attention, .579 with attention closed
under the rule hebbian (.202 with plasticity off). The chance level is .2. The sweep `shots` over
three seeds takes 24 minutes on two CPU cores.
"""

from ml_collections import config_dict

from plasticity.configs import few_shot


def get_config(which: str = "hebbian") -> config_dict.ConfigDict:
    """The config for a rule: --config=cifar_fs:RULE, or :MODEL/RULE."""
    config = few_shot.get_config(which, "cifar_fs")
    config.task.flip = True
    config.task.crop = 4
    config.task.jitter = 0.2
    return config
