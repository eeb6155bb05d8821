"""Plain classification of small images, by backpropagation or by local losses.

Paper: Kao and Hariharan 2024 (arXiv 2409.19841), counter-current learning.

  python -m experiments.prepare_data --dataset=cifar_fs
  python -m experiments.launch --config=classify:cifar_fs/conv4 --workdir=runs/classify
      [--config.model.credit=counter_current]
  python -m experiments.sweep --config=classify:cifar_fs/conv4 --sweep=credits
      --workdir=runs/credits --config.train.num_seeds=3
"""

from ml_collections import config_dict

from plasticity.configs import base
from plasticity.configs.algebra import Overrides, over
from plasticity.model.classifier import CREDITS
from plasticity.registry import lookup

# {DATASET: settings of the task}
DATASETS = {
    "omniglot": {"dataset": "omniglot", "by": "alphabets"},
    "cifar_fs": {"dataset": "cifar_fs", "by": "superclasses", "flip": True, "crop": 4},
}


def get_config(which: str = "omniglot/feed_forward") -> config_dict.ConfigDict:
    """The config for a data set and a network: --config=classify:DATASET/NET."""
    dataset, _, net = which.partition("/")
    config = base.get_config("classifier", "classify", "none")
    config.task.update(lookup(DATASETS, dataset, "DATASET of --config=classify:DATASET/NET"))
    config.model.net = net or "feed_forward"
    config.encoder.filters = 16
    config.train.batch = 1
    config.train.steps = 600
    config.train.learning_rate = 4e-3
    config.train.schedule = "cosine"
    config.evaluate.episodes = 64
    config.evaluate.batch = 4
    config.evaluate.every = 0
    return config


def credits() -> list[Overrides]:
    """Both ways to learn."""
    return over("model.credit", list(CREDITS))
