"""Few-shot classification of images: what configs/omniglot.py and configs/cifar_fs.py share.

Paper: Chaudhary 2025 (arXiv 2510.21908), section on few-shot classification; queries are
independent here, as in Vinyals et al. 2016.
"""

from ml_collections import config_dict

from plasticity.configs import base
from plasticity.configs.fields import set_fields

SPLITS = {"omniglot": "vinyals", "cifar_fs": "bertinetto"}  # {data set: its split}


def get_config(which: str, dataset: str) -> config_dict.ConfigDict:
    """The config of a data set for a RULE or MODEL/RULE: 5 ways, 1 shot."""
    config = base.start(which, "few_shot", {"transformer": {"dropout": 0.0}})
    config.task.dataset, config.task.split = dataset, SPLITS[dataset]
    config.task.queries = 5  # the expected accuracy does not depend on their number
    config.train.steps = 600
    config.train.batch = 32
    config.train.learning_rate = 1e-3
    config.train.schedule = "cosine"
    # Each class is written once. With the paper's 0.2, training stays on a plateau for long; under
    # the gradient rule two of three seeds never leave it.
    set_fields(config, {"rule.eta0": 1.0})
    config.evaluate.every = 500
    return config
