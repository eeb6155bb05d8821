"""Conv-4 encoders for frozen features, trained with the prototypical loss: omniglot or cifar_fs.

Paper: Snell et al. 2017 (arXiv 1703.05175).

  python -m experiments.prepare_data --dataset=omniglot
  python -m experiments.launch --config=encoder:omniglot --workdir=runs/omniglot-encoder
  python -m experiments.encode --workdir=runs/omniglot-encoder
  python -m experiments.launch --config=encoder:omniglot --workdir=runs/omniglot-encoder
      --mode=evaluate --config.task.ways=5 --config.task.queries=15 [--config.task.shots=5]

Expected accuracy with 5 ways: see the files evaluation-*.json in experiments/results/encoders.
"""

from ml_collections import config_dict

from plasticity.configs import base
from plasticity.configs.few_shot import SPLITS
from plasticity.registry import lookup


def _omniglot(config: config_dict.ConfigDict) -> None:
    config.task.ways = 30
    config.task.queries = 3
    config.train.batch = 2
    config.train.steps = 3000


def _cifar_fs(config: config_dict.ConfigDict) -> None:
    config.task.ways = 10
    config.task.shots = 3
    config.task.queries = 6
    config.task.flip = True
    config.task.crop = 4
    config.task.jitter = 0.2
    config.train.batch = 2
    config.train.steps = 6000


DATASETS = {"omniglot": _omniglot, "cifar_fs": _cifar_fs}


def get_config(dataset: str = "omniglot") -> config_dict.ConfigDict:
    """The config for a data set: --config=encoder:DATASET."""
    choose_images = lookup(DATASETS, dataset, "DATASET of --config=encoder:DATASET")
    config = base.get_config("prototypical", "few_shot", "none")
    config.task.dataset, config.task.split = dataset, SPLITS[dataset]
    config.model.temperature = 0.1
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.train.weight_decay = 5e-4
    config.evaluate.episodes = 200
    config.evaluate.batch = 4
    config.evaluate.every = 500
    choose_images(config)
    return config
